#include <gtest/gtest.h>

#include "unit/ha/fixture.h"

namespace pgvigil::ha::test {
namespace {

TEST(Race, TheMemberWithAllKnownWalTakesTheKey) {
  EXPECT_EQ(World().peer(kB, Lsn(1000)).action(), Action::AcquireLeader);
  EXPECT_EQ(World().peer(kB, Lsn(900)).action(), Action::AcquireLeader);
}

TEST(Race, NothingIsDecidedBeforeTheOthersWereAsked) {
  EXPECT_EQ(World().rule(), "wait_peers");
  EXPECT_TRUE(needs_peers(World().view, World().self, kNow));
}

TEST(Race, AMemberThatIsAheadGoesFirst) {
  const auto decision = World().peer(kB, Lsn(1001)).decide();
  EXPECT_EQ(decision.action, Action::None);
  EXPECT_NE(decision.reason.find("b is ahead"), std::string::npos) << decision.reason;
}

TEST(Race, AnUnreachableMemberDoesNotBlock) {
  World world;
  world.asked().self.peers.push_back({kB, std::nullopt});
  EXPECT_EQ(world.action(), Action::AcquireLeader);
}

TEST(Race, APrimaryThatStillRunsVetoes) {
  World world;
  world.peer(kB, Lsn(10)).last_peer().running_as_primary = true;
  EXPECT_EQ(world.action(), Action::None);
}

TEST(Race, TooMuchLagBehindTheLastLeader) {
  World world;
  world.asked().view.status.optime = Lsn(1000 + 1048576 + 1);
  EXPECT_EQ(world.rule(), "not_healthiest");
  world.view.status.optime = Lsn(1000 + 1048576);
  EXPECT_EQ(world.action(), Action::AcquireLeader);
}

TEST(Race, NofailoverNeverRaces) {
  World world;
  world.asked().self.tags.nofailover = true;
  EXPECT_EQ(world.rule(), "nofailover");
}

TEST(Race, EqualPositionsGoByPriority) {
  World world;
  world.peer(kB, Lsn(1000)).last_peer().tags.failover_priority = 2;
  EXPECT_EQ(world.action(), Action::None);
  world.self.former_leader = kB;  // the one that was lost does not come first
  EXPECT_EQ(world.action(), Action::AcquireLeader);
}

TEST(Race, WalThatTheClusterHasLeftBehindDoesNotWin) {
  World world;
  world.asked().self.instance.timeline = Timeline(1);
  world.view.status.optime = Lsn();
  world.self.instance.received = world.self.instance.replayed = Lsn(101);  // the history left timeline 1 at 100
  EXPECT_EQ(world.rule(), "not_healthiest");
  world.self.instance.received = world.self.instance.replayed = Lsn(100);
  EXPECT_EQ(world.action(), Action::AcquireLeader);
}

TEST(Race, ADivergedPeerWithAHigherPositionDoesNotBlock) {
  EXPECT_EQ(World().peer(kB, Lsn(5000), Timeline(1)).action(), Action::AcquireLeader);
  EXPECT_EQ(World().peer(kB, Lsn(500), Timeline(3)).action(), Action::None);
}

TEST(Race, TheOthersLeaveTheKeyToTheNamedCandidate) {
  World world;
  world.view.failover = FailoverRequest{kB, kA, std::nullopt, "", Revision(9)};
  world.self.former_leader = kB;
  world.asked().view.status.optime = world.self.instance.wal_end();
  EXPECT_EQ(world.rule(), "manual_candidate");
  world.view.failover->candidate = kC;
  EXPECT_EQ(world.peer(kC, Lsn(1000)).rule(), "leave_to_candidate");
}

TEST(Race, ASwitchoversCandidateThatLacksSomethingIsNoCandidate) {
  World world;
  world.view.failover = FailoverRequest{kB, kA, std::nullopt, "", Revision(9)};
  world.self.former_leader = kB;
  world.asked().view.status.optime = Lsn(world.self.instance.wal_end().value() + 1);
  EXPECT_NE(world.rule(), "manual_candidate");
  world.view.failover->leader = MemberName();  // a failover by name is an order
  EXPECT_EQ(world.rule(), "manual_candidate");
}

TEST(Race, AMemberThatLacksSomethingWaitsForOneThatLivesAndIsSilent) {
  World world;
  world.asked().view.status.optime = Lsn(world.self.instance.wal_end().value() + 1);
  Member silent;
  silent.name = kC;
  silent.api_url = "http://c:8008/patroni";
  world.view.members.push_back(silent);
  world.self.no_leader_since = kNow;
  EXPECT_EQ(world.rule(), "silent_member");
  world.self.no_leader_since = kNow - world.view.settings.ttl / 2;
  EXPECT_EQ(world.rule(), "healthiest");
}

TEST(Race, ARequestThatNamesAnotherLeaderIsOvertaken) {
  World world;
  world.view.failover = FailoverRequest{kC, kB, std::nullopt, "", Revision(9)};
  world.self.former_leader = kB;  // c has not led last
  EXPECT_EQ(world.peer(kB, Lsn(900)).rule(), "healthiest");
}

TEST(Race, AsynchronousMembersDoNotWinInSynchronousMode) {
  World world;
  world.asked().view.settings.synchronous_mode = SyncMode::On;
  world.view.sync = {kC, 0, {kB}, Revision(4)};
  EXPECT_EQ(world.rule(), "not_synchronous");
  world.view.sync.standbys = {kA};
  EXPECT_EQ(world.action(), Action::AcquireLeader);
}

TEST(Race, APrimaryOfAnOldTimelineStepsBack) {
  World world;
  world.as_primary().asked().self.instance.timeline = Timeline(1);
  EXPECT_EQ(world.action(), Action::DemoteNow);
  world.self.instance.timeline = Timeline(2);
  EXPECT_EQ(world.action(), Action::AcquireLeader);
}

TEST(Race, AFailedPromotionKeepsAway) {
  World world;
  world.asked().self.no_race_until = kNow + std::chrono::seconds(1);
  EXPECT_EQ(world.rule(), "no_race");
}

}  // namespace
}  // namespace pgvigil::ha::test
