#include <gtest/gtest.h>

#include "unit/ha/fixture.h"

namespace pgvigil::ha::test {
namespace {

using std::chrono::seconds;

TEST(Lead, APrimaryWithAProvenLeaseLeads) { EXPECT_EQ(World().led_by(kA).as_primary().action(), Action::KeepLeading); }

TEST(Lead, AStandbyWithTheKeyIsPromoted) {
  World world;
  EXPECT_EQ(world.led_by(kA).action(), Action::Promote);
  world.self.leader_until = kNow;
  EXPECT_EQ(world.rule(), "wait_lease");
}

TEST(Lead, ThePrimaryEndsWithItsLease) {
  World world;
  world.led_by(kA).as_primary();
  world.self.leader_until = kNow + seconds(5);  // a sixth of ttl 30: the time that a fast stop may take
  EXPECT_EQ(world.action(), Action::DemoteOffline);
  world.self.leader_until = kNow + seconds(5) + std::chrono::nanoseconds(1);
  EXPECT_EQ(world.action(), Action::KeepLeading);
  world.self.leader_until = kNow;
  EXPECT_EQ(world.action(), Action::DemoteNow);
}

// The lease in force was granted for the old ttl; by the new one it never left enough time to stop.
TEST(Lead, ARaisedTtlIsNoReasonToStop) {
  World world;
  world.led_by(kA).as_primary();
  world.self.leader_until = kNow + seconds(4);
  world.self.lead_ttl = seconds(5);
  EXPECT_EQ(world.action(), Action::KeepLeading);
  world.self.leader_until = kNow + std::chrono::milliseconds(800);
  EXPECT_EQ(world.action(), Action::DemoteOffline);
  world.self.leader_until = kNow + seconds(4);  // a lowered one asks for no more than the new ttl
  world.self.lead_ttl = seconds(300);
  EXPECT_EQ(world.action(), Action::DemoteOffline);
}

TEST(Lead, APrimaryNextToAnotherLeaderStopsAtOnce) {
  EXPECT_EQ(World().led_by(kB).as_primary().action(), Action::DemoteNow);
  EXPECT_TRUE(World().led_by(kB).as_primary().decide().rewind_check_due);
}

TEST(Lead, AServerThatDoesNotAnswerIsStillAPrimary) {
  World world;
  world.led_by(kB).as_primary().self.instance.postmaster = PostmasterState::Unresponsive;
  EXPECT_EQ(world.action(), Action::DemoteNow);
}

TEST(Lead, TheKeyUnderAnOlderLeaseIsReattached) {
  World world;
  world.led_by(kA).as_primary().self.lease = LeaseId(99);
  EXPECT_EQ(world.action(), Action::ReattachLeader);
}

TEST(Lead, APromotionUnderWayEndsWithTheLock) {
  World world;
  world.led_by(kB).self.operation = Operation::Promote;
  EXPECT_EQ(world.action(), Action::DemoteNow);
  world.led_by(kA);
  EXPECT_EQ(world.rule(), "busy");
  world.self.leader_until = kNow;
  EXPECT_EQ(world.action(), Action::DemoteNow);
}

TEST(Lead, ASwitchoverGoesToACandidateThatStreams) {
  World world;
  world.led_by(kA).as_primary().view.failover = FailoverRequest{kA, kB, std::nullopt, "", Revision(9)};
  EXPECT_EQ(world.rule(), "wait_request");
  world.peer(kB, Lsn(1000));
  EXPECT_EQ(world.action(), Action::Handover);
  EXPECT_EQ(world.decide().target, kB);
}

TEST(Lead, ASwitchoverToACandidateThatDoesNotStreamIsVoid) {
  World world;
  world.led_by(kA).as_primary().peer(kB, Lsn(1000)).view.failover =
      FailoverRequest{kA, kB, std::nullopt, "", Revision(9)};
  world.self.instance.wal_senders.front().state = "catchup";
  EXPECT_EQ(world.action(), Action::ClearFailover);
  world.self.instance.wal_senders.erase(world.self.instance.wal_senders.begin());
  EXPECT_EQ(world.action(), Action::ClearFailover);
  EXPECT_NE(world.decide().reason.find("b is not streaming"), std::string::npos) << world.decide().reason;
}

TEST(Lead, ASwitchoverThatNamesAnotherLeaderIsVoid) {
  World world;
  world.led_by(kA).as_primary().peer(kB, Lsn(1000)).view.failover =
      FailoverRequest{kC, kB, std::nullopt, "", Revision(9)};
  EXPECT_EQ(world.action(), Action::ClearFailover);
}

TEST(Lead, AScheduledSwitchoverWaitsForItsTimeAndExpires) {
  World world;
  world.led_by(kA).as_primary().peer(kB, Lsn(1000));
  const WallTime when = WallTime(seconds(5000));
  world.view.failover = FailoverRequest{kA, kB, when, "then", Revision(9)};
  world.self.wall = when - seconds(1);
  EXPECT_EQ(world.action(), Action::KeepLeading);
  EXPECT_LE(next_look(world.view, world.self, world.decide(), kNow), kNow + seconds(1));
  world.self.wall = when;
  EXPECT_EQ(world.action(), Action::Handover);
  world.self.wall = when + seconds(16);
  EXPECT_EQ(world.action(), Action::ClearFailover);
}

TEST(Lead, ALeaderWhoseDiskTakesNoWritesHandsOverToWhoeverHoldsWhatWasFlushed) {
  World world;
  world.led_by(kA).as_primary().self.writes_stuck = true;
  EXPECT_TRUE(needs_peers(world.view, world.self, kNow));
  world.peer(kB, Lsn(999));
  EXPECT_EQ(world.action(), Action::KeepLeading) << "b lacks a byte";
  world.peer(kC, Lsn(1000));
  EXPECT_EQ(world.action(), Action::HandoverCrashed);
  EXPECT_EQ(world.decide().target, kC);
}

TEST(Recover, ACrashedLeaderIsStartedInPlace) {
  World world;
  world.led_by(kA).as_primary().stopped(ControlState::InProduction).self.crashed = true;
  EXPECT_EQ(world.action(), Action::StartLeader);
  world.self.start_failed = true;
  EXPECT_EQ(world.action(), Action::ReleaseLeader);
}

TEST(Recover, WithPrimaryStartTimeoutZeroItIsFailedOver) {
  World world;
  world.led_by(kA).as_primary().stopped(ControlState::InProduction).peer(kB, Lsn(1000));
  world.view.settings.primary_start_timeout = seconds(0);
  EXPECT_EQ(world.action(), Action::ReleaseLeader);
  world.self.peers.clear();
  EXPECT_EQ(world.action(), Action::StartLeader) << "nobody could take over";
}

TEST(Recover, ADivergedServerIsRewoundBeforeItStarts) {
  World world;
  world.led_by(kB).stopped(ControlState::ShutDown).self.rewind = RewindStage::Due;
  EXPECT_EQ(world.action(), Action::CheckRewind);
  world.self.rewind = RewindStage::Needed;
  EXPECT_EQ(world.action(), Action::Rewind);
  world.self.can_rewind = false;
  EXPECT_EQ(world.action(), Action::StartReplica);
  world.view.settings.remove_data_directory_on_diverged_timelines = true;
  EXPECT_EQ(world.action(), Action::Reclone);
  world.self.rewind = RewindStage::Settled;
  EXPECT_EQ(world.action(), Action::StartReplica);
}

TEST(Recover, HistoriesAreComparedOnlyAfterTheLeadersCheckpoint) {
  World world;
  world.led_by(kB).stopped(ControlState::ShutDown).self.rewind = RewindStage::Due;
  world.view.members[1].checkpoint_after_promote = false;
  EXPECT_EQ(world.rule(), "wait_leader_checkpoint");
  world.view.members[1].checkpoint_after_promote.reset();
  world.view.members[1].role = Role::Promoted;
  EXPECT_EQ(world.rule(), "wait_leader_checkpoint");
}

TEST(Safety, AnotherDatabaseSystemIsRefused) {
  World world;
  world.led_by(kB).self.instance.system_id = SystemId("7000000000000000000");
  EXPECT_EQ(world.action(), Action::Exit);
}

TEST(Safety, AStandbyOfAClusterThatEtcdDoesNotKnowIsLeftAlone) {
  World world;
  world.view.initialize.reset();
  world.self.first_step = true;
  EXPECT_EQ(world.rule(), "standby_first");
  world.as_primary();
  EXPECT_EQ(world.action(), Action::WriteInitialize);
}

TEST(Create, TheClusterIsCreatedOnceAndByThoseWhoMay) {
  World world;
  world.view.initialize.reset();
  world.self.instance = Instance();
  EXPECT_EQ(world.rule(), "wait_bootstrap");
  world.self.may_bootstrap = true;
  EXPECT_EQ(world.action(), Action::ClaimInitialize);
  world.view.initialize = "";
  EXPECT_EQ(world.rule(), "wait_bootstrap");
  world.self.initialize_is_mine = true;
  EXPECT_EQ(world.action(), Action::Bootstrap);
  world.view.initialize = kSystem;
  world.self.initialize_is_mine = false;
  EXPECT_EQ(world.rule(), "wait_leader");
  EXPECT_EQ(world.led_by(kB).action(), Action::Clone);
  EXPECT_EQ(world.decide().target, kB);
  world.view.members[2].tags.clonefrom = true;
  EXPECT_EQ(world.decide().target, kC);
}

TEST(Pause, NothingIsStartedAndADeadLeaderGivesItsKeyUp) {
  World world;
  world.led_by(kA).as_primary().stopped(ControlState::ShutDown).view.settings.pause = true;
  EXPECT_EQ(world.action(), Action::ReleaseLeader);
  world.view.leader.reset();
  EXPECT_EQ(world.action(), Action::None);
}

// Whatever the inputs are: a server that may write is never left alone while another member holds the key, and nobody
// is promoted without the key and a proven lease.
TEST(Safety, HoldsInEveryCombination) {
  for (const auto postmaster :
       {PostmasterState::Stopped, PostmasterState::Starting, PostmasterState::Running, PostmasterState::Unresponsive}) {
    for (const bool recovery : {false, true}) {
      for (const int leader : {0, 1, 2}) {
        for (const auto role : {Role::Leader, Role::Replica, Role::Promoted, Role::Demoted, Role::Uninitialized}) {
          for (const int lease : {0, 1, 2}) {
            for (const auto rewind :
                 {RewindStage::Settled, RewindStage::Due, RewindStage::Needed, RewindStage::Failed}) {
              World world;
              if (!recovery) world.as_primary();
              if (leader > 0) world.led_by(leader == 1 ? kA : kB);
              world.self.role = role;
              world.self.rewind = rewind;
              world.self.instance.postmaster = postmaster;
              world.self.leader_until.reset();
              if (lease > 0) world.self.leader_until = lease == 1 ? kNow + seconds(20) : kNow - seconds(1);
              const auto decision = world.decide();
              EXPECT_FALSE(decision.reason.empty());
              EXPECT_FALSE(decision.rule.empty());
              const bool writes =
                  !recovery && (postmaster == PostmasterState::Running || postmaster == PostmasterState::Starting);
              if (writes && leader == 2) {
                EXPECT_EQ(decision.action, Action::DemoteNow) << decision.rule;
              }
              if (decision.action == Action::Promote || decision.action == Action::StartLeader) {
                EXPECT_EQ(leader, 1) << decision.rule;
                EXPECT_EQ(lease, 1) << decision.rule;
              }
            }
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace pgvigil::ha::test
