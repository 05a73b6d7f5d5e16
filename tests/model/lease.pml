/* The protocol of leader key, lease, guard and sync key, as a finite model for spin. docs/reliability-model.md tells what
   it shows and what it leaves out; tests/model/check runs it. Each step names the source file that it models.

   Time is a number of ticks that are left (of a lease, of the proof of a lease, until the guard's deadline), so runs may be
   of any length. A process that is frozen is one that takes no step while time passes: nothing forces an agent to step.

   Of the WAL only one commit, X, is followed: which leader writes it, and when, is open, so it stands for every commit.

   -DN=2|3 members, -DTTL ticks, -DQUORUM=0|1 (synchronous_mode on or quorum), -DRESTARTS of agents and machines,
   -DCOARSE=1: a renewal takes no time, no write of the sync key is late, nobody hands over (what three members add is
   who votes and who has a copy; the rest is the same for two).
   -DSYNC=0: without synchronous replication and X; the promise of one writer is the only one left.
   -DTIMED=0: without time. That a leader's server has ended before his lease does is what the timed runs show; here it is
   taken for granted, and the sync key is looked at alone.
   -DBREAK_... leaves out one rule; spin has to find the violation. */
#ifndef N
#define N 2
#endif
#ifndef TTL
#define TTL 3
#endif
#ifndef QUORUM
#define QUORUM 0
#endif
#ifndef RESTARTS
#define RESTARTS 1
#endif
#ifndef COARSE
#define COARSE 0
#endif
#ifndef SYNC
#define SYNC 1
#endif
#ifndef TIMED
#define TIMED 1
#endif
#ifdef BREAK_MARGIN
#define MARGIN 0
#else
#define MARGIN 1 /* of the guard's deadline before the end of the proof: src/ha/decide.cc, deadline_of */
#endif

#define NOBODY N
#define BIT(m) (1 << (m))
#define IN(m, set) (((set) >> (m)) & 1)
#define SIZE(set) (((set) & 1) + (((set) >> 1) & 1) + (((set) >> 2) & 1))
#define MIN(a, b) ((a) < (b) -> (a) : (b))
#define MAX(a, b) ((a) > (b) -> (a) : (b))

/* --- etcd: src/dcs/cluster_store.cc --- */
byte key = 0;                 /* owner of the leader key */
bool key_is_old = 0;          /* it is bound to the lease of an agent that has died since */
byte key_left;          /* of the lease that it is bound to; other leases matter from when a key is bound to them */
byte sync_leader = 0, voters = 0, quorum = 0; /* the sync key */
bool late = 0;                /* a write of the sync key whose reply was lost and that may still be applied */
byte late_by, late_voters, late_quorum;

/* --- agents: src/agent --- */
bool up[N], holds[N], elected[N], doubtful[N], sync_doubtful[N];
byte proof[N];                /* how long a holder's lease is proven */
byte asked[N], asked_left[N]; /* a renewal: 0 none, 1 sent, 2 applied; what it proves when it is confirmed now */
byte stage[N];                /* of a promotion: 1 guard armed, 2 sync key taken over, 3 about to order it */
bool release_sent[N];         /* a deletion of the leader key is under way and would find the revision that it compares */
byte restarts = 0;

/* --- guard: src/guard/process/guard_main.cc --- */
byte guard[N];                /* 0: disarmed, else ticks until the deadline + 1 */

/* --- PostgreSQL --- */
#define DOWN 0
#define STANDBY 1
#define PROMOTING 2 /* the order was given: it will become a primary whether the agent lives or not */
#define PRIMARY 3
byte server[N];
bool was_primary[N];
bool wal[N];                  /* X is in the WAL */
bool written = 0, acknowledged = 0;
byte writer = NOBODY;         /* whose server, in its present run, has a backend that waits for X's acknowledgement */
/* synchronous_standby_names of the server that is or becomes primary, and what processes that have not read the change
   obey still */
byte names[N], count[N], old_names[N], old_count[N];
bool remembers[N];            /* the agent knows the names in force: src/agent/sync.cc, sync_names_to_start_with */
bool settled[N], sample[N];   /* X was written before the names had settled */

byte i, w, kept, confirmed, q, both, k; /* scratch, zero between steps */

#define KEY_IS_MINE(n) (key == n && !key_is_old)

inline forget_names(n) { names[n] = 0; count[n] = 0; remembers[n] = 0 }
inline server_ends(n) {
  server[n] = DOWN; old_names[n] = 0; old_count[n] = 0; settled[n] = 0; sample[n] = 0;
  if :: !remembers[n] -> forget_names(n) :: else fi;
  if :: writer == n -> writer = NOBODY :: else fi
}
inline holds_no_more(n) { holds[n] = 0; doubtful[n] = 0; proof[n] = 0; asked[n] = 0; asked_left[n] = 0 }

inline forget_late() { late = 0; late_by = 0; late_voters = 0; late_quorum = 0 }

inline sync_key_written() {
  forget_late(); /* its revision has moved on: what was under way compares in vain */
  for (i : 0 .. N - 1) {
#ifndef BREAK_COMPARE
    elected[i] = 0; /* acquire_leader compares the revision that the race was decided on */
#endif
    sync_doubtful[i] = 0
  }
  i = 0
}

inline leader_key_goes() {
  if :: key_is_old && late && late_by == key -> forget_late() :: else fi; /* nobody has that lease any more */
  key = NOBODY; key_is_old = 0; key_left = 0; leader_key_written()
}
inline leader_key_written() { /* a release that is still under way compares the revision in vain */
  for (i : 0 .. N - 1) { release_sent[i] = 0 }
  i = 0
}

inline write_sync(n, new_voters, new_quorum) { /* src/agent/sync.cc, write_sync_key */
  if
  :: KEY_IS_MINE(n) -> voters = new_voters; quorum = new_quorum; sync_key_written()
  :: !COARSE && KEY_IS_MINE(n) -> /* the reply is lost, and the write comes later or never */
     late = 1; late_by = n; late_voters = new_voters; late_quorum = new_quorum; sync_doubtful[n] = 1
  :: else -> skip
  fi
}

inline forget(n) { /* all that an agent keeps in memory */
  up[n] = 0; elected[n] = 0; stage[n] = 0; sync_doubtful[n] = 0; holds_no_more(n);
  if :: server[n] < PROMOTING -> forget_names(n) :: else remembers[n] = 0 fi;
  if
  :: key == n -> key_is_old = 1
  :: key != n && late_by == n -> forget_late() /* it compares the leader key's lease */
  :: else
  fi
}

inline arm(n) { if :: TIMED -> guard[n] = proof[n] - MARGIN + 1 :: else fi }
inline names_from_key(n) { /* src/ha/sync.cc, sync_names_at_start */
  names[n] = voters & ~BIT(n); count[n] = SIZE(names[n]) - MIN(quorum, SIZE(names[n]));
  if :: count[n] == 0 -> names[n] = 0 :: else fi
}
#define MAY_ARM(n) (TIMED -> proof[n] > MARGIN : KEY_IS_MINE(n)) /* src/guard/process/guard_main.cc refuses a deadline that has passed */

/* How many of the others may be counted on not to hold more than n: src/ha/race.cc, no_quorum and ancestry.cc. */
#define AGREES(n, m) (m != n && (IN(m, voters) || m == sync_leader) && !(wal[m] && !wal[n]))
#if N == 3
#define VOTES(n) (AGREES(n, 0) + AGREES(n, 1) + AGREES(n, 2))
#define MAY_STREAM(n) (server[0] == PRIMARY || server[1] == PRIMARY || server[2] == PRIMARY)
#else
#define VOTES(n) (AGREES(n, 0) + AGREES(n, 1))
#define MAY_STREAM(n) (server[0] == PRIMARY || server[1] == PRIMARY)
#endif
#if defined(BREAK_ELECTION) || SYNC == 0
#define MAY_LEAD(n) 1
#else
#define MAY_LEAD(n) (n == sync_leader || (IN(n, voters) && VOTES(n) >= quorum))
#endif

#define COPIES(set) ((IN(0, set) && wal[0]) + (IN(1, set) && wal[1]) + (N == 3 && IN(2, set) && wal[N - 1]))

proctype member(byte n) {
  do
  /* ---- the lease: src/agent/lease.cc, keep_lease ---- */
  :: d_step { TIMED && COARSE && up[n] && holds[n] && KEY_IS_MINE(n) -> key_left = TTL; proof[n] = TTL;
       if :: guard[n] > 0 -> arm(n) :: else fi }
  :: d_step { TIMED && !COARSE && up[n] && holds[n] && asked[n] == 0 -> asked[n] = 1; asked_left[n] = TTL }
  :: d_step { asked[n] == 1 && KEY_IS_MINE(n) -> key_left = TTL; asked[n] = 2 } /* etcd, at any time later */
  :: d_step { asked[n] > 0 -> asked[n] = 0; asked_left[n] = 0 }                 /* request or reply is lost */
  :: d_step { asked[n] == 2 -> /* confirmed: it proves the lease from when it was sent; lease_confirmed */
#ifdef BREAK_PROOF
       proof[n] = TTL;
#else
       proof[n] = MAX(proof[n], asked_left[n]);
#endif
       asked[n] = 0; asked_left[n] = 0;
       if :: guard[n] > 0 && MAY_ARM(n) -> arm(n) :: else fi }

  /* ---- the race: src/ha/race.cc, then src/dcs/cluster_store.cc, acquire_leader ---- */
  :: d_step { up[n] && !elected[n] && !holds[n] && key == NOBODY && server[n] == STANDBY && MAY_LEAD(n) -> elected[n] = 1 }
  :: atomic { up[n] && elected[n] && key == NOBODY -> /* the member's lease has any time left */
       key = n; key_is_old = 0; elected[n] = 0; leader_key_written(); select(key_left : 0 .. TTL * TIMED) }
  :: d_step { elected[n] && key != NOBODY -> elected[n] = 0 } /* refused */
  :: atomic { up[n] && !holds[n] && stage[n] == 0 && KEY_IS_MINE(n) -> /* by reply, read or watch; proven: at most what is left */
       holds[n] = 1;
#ifdef BREAK_ACQUIRE
       proof[n] = TTL
#else
       select(w : 0 .. key_left); proof[n] = w; w = 0
#endif
       }
  :: d_step { holds[n] && !KEY_IS_MINE(n) -> holds_no_more(n) }
  :: atomic { up[n] && key == n && key_is_old -> /* reattach_leader: src/agent/execute.cc, by a new agent, to its own lease */
       select(w : ((MARGIN + 1) * TIMED) .. (TTL * TIMED)); select(key_left : w .. (TTL * TIMED));
       d_step {
         key_is_old = 0; leader_key_written(); holds[n] = 1; proof[n] = w; w = 0;
         if :: late_by == n -> forget_late() :: else fi;
#ifndef BREAK_REATTACH
         if :: TIMED && guard[n] > proof[n] - MARGIN + 1 -> arm(n) :: else fi /* before the key moves to a lease that ends sooner */
#endif
       } }

  /* ---- the promotion: src/agent/promote.cc ---- */
#ifdef BREAK_ARM_FIRST
  :: d_step { up[n] && holds[n] && server[n] == STANDBY && stage[n] == 0 && MAY_ARM(n) -> stage[n] = 1 }
#else
  :: d_step { up[n] && holds[n] && server[n] == STANDBY && stage[n] == 0 && MAY_ARM(n) -> arm(n); stage[n] = 1 }
#endif
  :: d_step { up[n] && stage[n] == 1 -> /* prepare_synchronous; src/ha/sync.cc, take_key */
       old_names[n] = 0; old_count[n] = 0; settled[n] = 0; sample[n] = 0;
       if
       :: KEY_IS_MINE(n) ->
#ifndef BREAK_TAKEOVER
          if
          :: sync_leader != n ->
             if
             :: QUORUM -> voters = (voters | BIT(sync_leader)) & ~BIT(n)
             :: else -> voters = 0; quorum = 0
             fi;
             sync_leader = n; sync_key_written()
          :: else ->
             if :: sync_doubtful[n] -> sync_key_written() :: else fi
          fi;
#endif
          names_from_key(n);
          remembers[n] = 1; old_names[n] = names[n]; old_count[n] = count[n];
          stage[n] = 2
       :: else -> stage[n] = 0
       fi }
#ifdef BREAK_ARM_FIRST
  :: d_step { up[n] && stage[n] == 2 && holds[n] && MAY_ARM(n) -> stage[n] = 3 }
#else
  :: d_step { up[n] && stage[n] == 2 && holds[n] && MAY_ARM(n) -> arm(n); stage[n] = 3 }
#endif
  :: d_step { up[n] && stage[n] == 2 && !(holds[n] && MAY_ARM(n)) -> stage[n] = 0 }
  :: d_step { up[n] && stage[n] == 3 -> /* whatever has happened since: nothing is looked at between */
       stage[n] = 0; if :: server[n] == STANDBY -> server[n] = PROMOTING :: else fi }

  /* ---- the server of a leader that ended: src/ha/recover.cc, src/agent/start.cc ---- */
  :: d_step { up[n] && holds[n] && server[n] == DOWN && was_primary[n] && stage[n] == 0 && MAY_ARM(n) &&
#ifndef BREAK_DOUBT
              !doubtful[n] &&
#endif
              sync_leader == n ->
       arm(n); /* the guard knows the pid before the program is executed: src/postgres/start_stop.cc */
       if
       :: !remembers[n] -> names_from_key(n)
       :: else
       fi;
       remembers[n] = 1; old_names[n] = names[n]; old_count[n] = count[n]; settled[n] = 0; sample[n] = 0;
       server[n] = PROMOTING }
  :: d_step { up[n] && server[n] == DOWN && stage[n] == 0 && !holds[n] && key != n -> /* src/ha/follow.cc, as a standby */
       server[n] = STANDBY; was_primary[n] = 0; forget_names(n) }
  :: d_step { up[n] && server[n] > STANDBY -> server_ends(n) } /* src/ha/safety.cc, step_down.cc: stopped for any reason */
  :: d_step { up[n] && guard[n] > 0 && stage[n] == 0 &&      /* src/agent/gather.cc */
#ifdef BREAK_DISARM
              server[n] != PRIMARY ->
#else
              server[n] < PROMOTING ->
#endif
       guard[n] = 0 }

  /* ---- handover, and the release after a crash: src/agent/handover.cc, crash.cc ---- */
  :: d_step { !COARSE && up[n] && holds[n] && !doubtful[n] && server[n] == DOWN && was_primary[n] && KEY_IS_MINE(n) &&
              COPIES((BIT(N) - 1) & ~BIT(n)) >= wal[n] ->
       release_sent[n] = 1; doubtful[n] = 1 }
  :: d_step { release_sent[n] -> release_sent[n] = 0; /* etcd applies it, at any time; or never */
       if :: key == n -> assert(server[n] < PROMOTING); leader_key_goes() :: else fi }
  :: d_step { up[n] && holds[n] && doubtful[n] && KEY_IS_MINE(n) -> /* resumes: src/agent/execute.cc, a write of its own */
       doubtful[n] = 0; leader_key_written() }

  /* ---- synchronous replication of a leader: src/ha/sync.cc, next_sync_step; src/agent/sync.cc ---- */
  :: d_step { SYNC && server[n] == PRIMARY && !settled[n] -> settled[n] = 1; sample[n] = wal[n]; old_names[n] = names[n];
       old_count[n] = count[n] }
  :: d_step { up[n] && holds[n] && sync_doubtful[n] && KEY_IS_MINE(n) -> /* the key, as it is, once more */
       sync_key_written() }
  :: atomic { SYNC && up[n] && holds[n] && server[n] == PRIMARY && sync_leader == n &&
#ifndef BREAK_REWRITE
              !sync_doubtful[n] ->
#else
              1 ->
#endif
       remembers[n] = 1; /* note_sync_sample has read them */
       select(w : 0 .. (BIT(N) - 1)); w = w & ~BIT(n); /* whom it would be synchronous with: src/ha/sync.cc, wanted */
       k = SIZE(w);
       if :: QUORUM && k == 2 -> k = 1 :: skip fi;
       d_step {
         if
         :: names[n] == w && count[n] == k -> /* confirm: who is known to hold what was written before the setting */
            confirmed = 0;
            for (i : 0 .. N - 1) {
              if
#ifdef BREAK_CATCH_UP
              :: IN(i, w) -> confirmed = confirmed | BIT(i)
#else
              :: IN(i, w) && ((settled[n] && wal[i] >= sample[n]) || (!QUORUM && quorum == 0 && IN(i, voters))) ->
                 confirmed = confirmed | BIT(i)
#endif
              :: else
              fi
            }
            i = 0;
            q = SIZE(w) - MIN(k, SIZE(confirmed));
            if
            :: !QUORUM -> q = 0; kept = confirmed
            :: QUORUM && ((SIZE(confirmed) < k && voters == w && quorum <= q) || (confirmed == 0 && w != 0)) ->
               kept = voters; q = quorum
            :: else -> kept = w
            fi;
         :: else
            /* names first when that keeps q + k >= |V u S|, else the key */
            if
#ifdef BREAK_LOOSEN
            :: 1 ->
#else
            :: quorum + k >= SIZE(voters | w) ->
#endif
               names[n] = w; count[n] = k; remembers[n] = 1; settled[n] = 0; sample[n] = 0; kept = voters; q = quorum
            :: else ->
               if
               :: QUORUM -> kept = voters | names[n] | w;
                  q = MAX(SIZE(kept) - MIN(count[n], k), quorum + SIZE(kept) - SIZE(voters))
               :: else -> kept = voters & w; both = SIZE(kept | names[n]);
                  q = MAX(both - MIN(both, count[n]), MIN(quorum, SIZE(kept)))
               fi
            fi
         fi;
         w = 0; k = 0; both = 0; confirmed = 0
       };
       if
       :: kept != voters || q != quorum -> write_sync(n, kept, q)
       :: else
       fi;
       kept = 0; q = 0 }

  /* ---- PostgreSQL by itself ---- */
  :: d_step { server[n] == PROMOTING -> server[n] = PRIMARY; was_primary[n] = 1;
       for (i : 0 .. N - 1) { assert(i == n || server[i] != PRIMARY) } /* never two that can acknowledge */
       i = 0;
       assert(!acknowledged || wal[n])                                 /* what was acknowledged is on every later leader */
#ifdef REACH_LATER_LEADER
       ; assert(!(acknowledged && n == N - 1 && sync_leader == n))
#endif
       }
  :: d_step { SYNC && server[n] == PRIMARY && !written -> written = 1; wal[n] = 1; writer = n }
  :: d_step { server[n] == STANDBY && MAY_STREAM(n) -> /* also what a rewind takes away */
       wal[n] = ((server[0] == PRIMARY && wal[0]) || (server[1] == PRIMARY && wal[1]) || (server[N - 1] == PRIMARY && wal[N - 1])) }
  :: d_step { writer == n && (COPIES(names[n]) >= count[n] || (!settled[n] && COPIES(old_names[n]) >= old_count[n])) ->
       acknowledged = 1; writer = NOBODY }

  /* ---- the guard: src/guard/process/guard_main.cc, enforce ---- */
  :: d_step { guard[n] == 1 -> guard[n] = 0;
#ifndef BREAK_GUARD
       server_ends(n)
#endif
       }

  /* ---- faults ---- */
  :: d_step { server[n] > STANDBY -> server_ends(n) }                                       /* a server crashes */
  :: d_step { up[n] && restarts < RESTARTS -> restarts++; forget(n) }                        /* an agent is killed */
  :: d_step { restarts < RESTARTS -> restarts++; forget(n); guard[n] = 0; server_ends(n) }   /* a machine crashes */
  :: d_step { !up[n] -> up[n] = 1 }                                                          /* and is there again */
  od
}

/* No tick passes while a guard's deadline is there and it has not struck: the kill takes less than the margin. */
#if N == 3
#define GUARDS_IN_TIME (guard[0] != 1 && guard[1] != 1 && guard[N - 1] != 1)
#else
#define GUARDS_IN_TIME (guard[0] != 1 && guard[1] != 1)
#endif
#define LESS(x) if :: x > 0 -> x-- :: else fi

proctype world() {
  do
  :: d_step { TIMED && GUARDS_IN_TIME ->
       for (i : 0 .. N - 1) {
         LESS(proof[i]); LESS(asked_left[i]);
         if :: asked_left[i] == 0 -> asked[i] = 0 :: else fi; /* would prove nothing any more */
         if :: guard[i] > 1 -> guard[i]-- :: else fi
       }
       LESS(key_left);
       i = 0 }
  /* etcd ends a lease when its time is over, or later (a new etcd leader gives every lease its full time again) */
  :: d_step { !TIMED && key != NOBODY && server[key] < PROMOTING -> /* the guard has struck, if it was armed */
       i = key;
       if :: stage[i] > 0 && server[i] != DOWN -> server_ends(i) :: else fi;
       i = 0; leader_key_goes() }
  :: d_step { TIMED && key != NOBODY && key_left == 0 ->
       assert(server[key] < PROMOTING); /* from here on another may lead */
       leader_key_goes() }
  :: d_step { late && key == late_by -> voters = late_voters; quorum = late_quorum; forget_late();
       for (i : 0 .. N - 1) { elected[i] = 0 }
       i = 0 }
  od
}

init {
  d_step {
    for (i : 0 .. N - 1) {
      up[i] = 1; server[i] = STANDBY
    }
    i = 0; server[0] = PRIMARY; was_primary[0] = 1; holds[0] = 1; remembers[0] = 1; settled[0] = 1;
    key_left = TTL * TIMED; proof[0] = TTL * TIMED; guard[0] = (TTL - MARGIN + 1) * TIMED
  }
  atomic {
    run member(0); run member(1);
#if N == 3
    run member(2);
#endif
    run world()
  }
}
