#!/usr/bin/python3
"""pgvigil beside Debian's Patroni under the same faults, in namespaces, one after the other: who accepts writes, for how long, and
what is lost. Prints a Markdown table. Needs root and a build.

usage: PGVIGIL_BIN=build/release/bin bench/chaos/side_by_side.py [--runs 3] [--only SCENARIO,...]"""

import argparse
import pathlib
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from chaos import namespace  # noqa: E402

# The shortest times that Patroni 3.0 takes, for both alike.
SETTINGS = {"ttl": 20, "loop_wait": 1, "retry_timeout": 3}
SYSTEMS = ("pgvigil", "patroni")


class Run:
    def __init__(self, kind, **settings):
        from chaos.clients import Clients
        from chaos.deployment import Deployment
        from chaos.history import History
        self.deployment = Deployment({**SETTINGS, **settings}, kind=kind, pooler=False)
        self.deployment.start(120)
        self.leader, self.other = self.deployment.pair()
        Clients.make_schema(self.leader)
        self.history = History()
        self.clients = Clients(self.deployment, self.history)

    def __enter__(self):
        from harness import wait_for
        self.clients.__enter__()
        wait_for(lambda: len(self.history.acknowledged("network")) > 50, 30, "clients are served")
        self.began = self.history.now()
        return self

    def __exit__(self, *_):
        self.clients.stop()
        self.deployment.stop()

    def let_pass(self, seconds):
        time.sleep(seconds)

    def both_wrote(self):
        """Seconds from the first row that the other node acknowledged to the last one of the old leader."""
        theirs = [w.ended for w in self.history.acknowledged() if w.node == self.other.name]
        ours = [w.sent for w in self.history.acknowledged() if w.node == self.leader.name]
        return max(0.0, ours[-1] - theirs[0]) if theirs and ours else 0.0

    def outage(self):
        from chaos.checks import availability
        self.history.ended = self.history.now()
        return max((o.length() for o in availability.outages(self.history, ("network",), 0.0) if o.ended >= self.began), default=0.0)

    def took_over(self):
        return any(w.node == self.other.name for w in self.history.acknowledged())

    def lost(self):
        from chaos.checks import durability
        from chaos.history import Final
        self.clients.stop()
        leader = self.deployment.wait_healthy(120)
        rows = {tuple(row) for row in leader.query("SELECT client, number FROM writes")}
        self.history.final = Final(leader.name, 0, rows, {}, [])
        return len(durability.lost(self.history))


def without_agent(kind, fault):
    """The fault takes the leader's agent away for 40 s; PostgreSQL is left running."""
    from chaos.driver import inject
    with Run(kind) as run:
        heal = inject(run.deployment, run.history, fault, "leader")
        run.let_pass(2 * SETTINGS["ttl"])
        both, outage = run.both_wrote(), run.outage()
        heal()
        return {"both accept writes": both, "outage": outage, "lost rows": run.lost()}


def agent_frozen(kind):
    return without_agent(kind, "stop_agent")  # SIGSTOP


def agent_killed(kind):
    return without_agent(kind, "kill_agent")  # SIGKILL


def quorum_lost(kind, failsafe):
    """Two of three etcd members are frozen for 60 s."""
    from chaos.driver import inject
    from harness import wait_for
    with Run(kind, failsafe_mode=failsafe) as run:
        thaw = inject(run.deployment, run.history, "etcd_quorum_lost", "all")
        run.let_pass(60)
        thaw()
        healed = run.history.now()
        wait_for(lambda: run.history.acknowledged("network")[-1].sent > healed, 90, "writes go on")
        return {"both accept writes": run.both_wrote(), "outage": run.outage(), "lost rows": run.lost()}


def starved(kind):
    """64 processes spin for 60 s beside the cluster."""
    with Run(kind) as run:
        spinning = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(64)]
        run.let_pass(60)
        for process in spinning:
            process.kill()
        for process in spinning:
            process.wait()
        run.let_pass(2)
        return {"both accept writes": run.both_wrote(), "outage": run.outage(), "failovers": int(run.took_over()), "lost rows": run.lost()}


SCENARIOS = {
    "leader's agent frozen (SIGSTOP)": agent_frozen,
    "leader's agent killed (SIGKILL)": agent_killed,
    "etcd quorum lost for 60 s, failsafe off": lambda kind: quorum_lost(kind, False),
    "etcd quorum lost for 60 s, failsafe on": lambda kind: quorum_lost(kind, True),
    "64 spinning processes for 60 s": starved,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", help="scenarios by a part of their name, separated by commas")
    options = parser.parse_args()
    if not namespace.inside():
        why = namespace.why_not()
        if why:
            sys.exit(f"side_by_side: cannot run here: {why}")
        namespace.enter(sys.argv)
    wanted = options.only.split(",") if options.only else [""]
    print("| fault | system | runs | both accept writes, longest | outage, median | longest | failovers | lost rows |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for name, scenario in SCENARIOS.items():
        if not any(part in name for part in wanted):
            continue
        for system in SYSTEMS:
            results = []
            for _ in range(options.runs):
                try:
                    results.append(scenario(system))
                except AssertionError as error:
                    print(f"{name}, {system}: {error}", file=sys.stderr, flush=True)
            if not results:
                continue
            outages = [r["outage"] for r in results]
            failovers = sum(r["failovers"] for r in results) if "failovers" in results[0] else ""
            print(f"| {name} | {system} | {len(results)} | {max(r['both accept writes'] for r in results):.2f} s | "
                  f"{statistics.median(outages):.2f} s | {max(outages):.2f} s | {failovers} | {sum(r['lost rows'] for r in results)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
