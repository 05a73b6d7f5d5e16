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

TEST(Crash, SwitchedOffItIsRecoveredInPlaceUnread) {
  World world = crashed(kMuch);
  world.view.settings.lossless_failover = false;
  world.self.wal_end_sought = false;
  world.self.wal_end.reset();
  EXPECT_EQ(world.action(), Action::StartLeader);
}

}  // namespace
}  // namespace pgvigil::ha::test
