#include <gtest/gtest.h>

#include "ha/crash.h"
#include "unit/ha/fixture.h"

namespace pgvigil::ha::test {
namespace {

constexpr std::uint64_t kMuch = 64U << 20U;

World crashed(std::uint64_t to_replay) {
  World world;
  world.led_by(kA).as_primary().stopped(ControlState::InProduction);
  world.self.crashed = true;
  world.self.wal_end = WalEnd{Timeline(2), Lsn(1000), Lsn(1000 + to_replay)};
  return world;
}

TEST(Crash, TheEndOfWalIsFoundFirst) {
  World world = crashed(kMuch);
  world.self.wal_end_sought = false;
  EXPECT_EQ(world.action(), Action::FindWalEnd);
  world.self.wal_end_sought = true;
  world.self.wal_end.reset();
  EXPECT_EQ(world.action(), Action::StartLeader) << "what cannot be read is recovered";
}

TEST(Crash, LittleWalIsRecoveredInPlace) {
  World world = crashed(1U << 20U);
  EXPECT_FALSE(needs_peers(world.view, world.self, kNow));
  world.peer(kB, Lsn(1000 + (1U << 20U)));
  EXPECT_EQ(world.action(), Action::StartLeader);
  EXPECT_NE(world.decide().reason.find("1048576 bytes to replay"), std::string::npos) << world.decide().reason;
}

TEST(Crash, MuchWalGoesToWhoeverHoldsAll) {
  World world = crashed(kMuch);
  EXPECT_TRUE(needs_peers(world.view, world.self, kNow));
  world.peer(kB, Lsn(1000 + kMuch - 1)).peer(kC, Lsn(1000 + kMuch));
  EXPECT_EQ(world.action(), Action::HandoverCrashed);
  EXPECT_EQ(world.decide().target, kC);
}

TEST(Crash, NobodyWhoHoldsAllMeansInPlace) {
  World world = crashed(kMuch);
  world.peer(kB, Lsn(1000 + kMuch - 1)).peer(kC, Lsn(1000 + kMuch), Timeline(1));
  EXPECT_EQ(world.action(), Action::StartLeader);
  EXPECT_NE(world.decide().reason.find("b lacks 1 bytes"), std::string::npos) << world.decide().reason;
}

TEST(Crash, AMemberThatMayNotLeadIsNoSuccessor) {
  World world = crashed(kMuch);
  world.peer(kB, Lsn(1000 + kMuch)).last_peer().tags.nofailover = true;
  EXPECT_EQ(world.action(), Action::StartLeader);
  world.view.settings.synchronous_mode = SyncMode::On;
  world.view.sync.leader = kA;
  world.view.sync.standbys = {kB};
  world.peer(kC, Lsn(1000 + kMuch));
  EXPECT_EQ(world.action(), Action::StartLeader) << "c is not synchronous";
}

TEST(Crash, AServerThatKeepsFailingIsHandedOverHoweverLittleThereIs) {
  World world = crashed(100);
  world.self.failed_leader_until = kNow + std::chrono::seconds(60);
  EXPECT_TRUE(needs_peers(world.view, world.self, kNow));
  world.peer(kB, Lsn(1099));
  EXPECT_EQ(world.action(), Action::StartLeader) << "nobody holds all of it";
  world.last_peer().wal_end = Lsn(1100);
  EXPECT_EQ(world.action(), Action::HandoverCrashed);
}

TEST(Crash, AServerThatKeepsFailingLeavesTheLeadToOthers) {
  World world;
  world.self.failed_leader_until = kNow + std::chrono::seconds(60);
  world.self.no_leader_since = kNow;
  EXPECT_EQ(world.asked().action(), Action::AcquireLeader) << "there is nobody else";
  world.peer(kB, Lsn(1000));
  EXPECT_EQ(world.rule(), "flapping");
  world.last_peer().wal_end = Lsn(999);
  EXPECT_EQ(world.action(), Action::AcquireLeader) << "b lacks something";
  world.last_peer().wal_end = Lsn(1000);
  EXPECT_EQ(world.rule(), "flapping");
  world.self.no_leader_since = kNow - world.view.settings.ttl / 2;
  EXPECT_EQ(world.action(), Action::AcquireLeader) << "b would have taken it by now";
  world.self.no_leader_since = kNow;
  world.self.failed_leader_until = kNow;
  EXPECT_EQ(world.action(), Action::AcquireLeader);
}

TEST(Failsafe, APromiseKeepsAMemberFromTheLead) {
  World world;
  world.peer(kB, Lsn(900));
  EXPECT_EQ(world.action(), Action::AcquireLeader);
  world.self.failsafe_until = kNow + std::chrono::seconds(3);
  EXPECT_EQ(world.rule(), "failsafe");
  EXPECT_EQ(world.led_by(kA).rule(), "failsafe") << "a request of before was applied late";
}

TEST(Failsafe, ALeaderByPromiseStopsWhenThatEnds) {
  World world;
  world.led_by(kA).as_primary().view.leader.reset();  // expired
  world.self.leader_until = kNow + std::chrono::seconds(20);
  EXPECT_EQ(world.asked().action(), Action::AcquireLeader);
  world.self.leader_until = kNow + std::chrono::seconds(1);
  EXPECT_EQ(world.action(), Action::DemoteOffline);
}

TEST(Failsafe, AMemberOutsideOfTheListIsNoCandidate) {
  World world;
  world.view.settings.failsafe_mode = world.view.failsafe_present = true;
  world.view.failsafe = {{"a", "x"}, {"c", "x"}};
  world.led_by(kA).as_primary().peer(kB, Lsn(1000)).peer(kC, Lsn(1000));
  EXPECT_EQ(takeover_candidates(world.view, world.self, kNow, {}, false), std::vector<MemberName>{kC});
}

TEST(Crash, SwitchedOffItIsRecoveredInPlaceUnread) {
  World world = crashed(kMuch);
  world.view.settings.lossless_failover = false;
  world.self.wal_end_sought = false;
  world.self.wal_end.reset();
  EXPECT_EQ(world.action(), Action::StartLeader);
}

}  // namespace
}  // namespace pgvigil::ha::test
