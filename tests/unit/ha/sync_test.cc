#include <gtest/gtest.h>

#include <random>
#include <set>

#include "ha/sync.h"
#include "unit/ha/fixture.h"

namespace pgvigil::ha::test {
namespace {

TEST(SyncNames, AreWrittenAsPatroniWritesThem) {
  const auto text = [](bool quorum, std::uint32_t count, std::vector<std::string> names) {
    SyncNames all;
    all.quorum = quorum;
    all.count = count;
    for (auto& name : names) all.names.emplace_back(name);
    EXPECT_EQ(parse_sync_names(to_text(all)), all) << to_text(all);
    return to_text(all);
  };
  EXPECT_EQ(text(false, 1, {"a"}), "a");
  EXPECT_EQ(text(false, 2, {"a", "b"}), "2 (a,b)");
  EXPECT_EQ(text(true, 1, {"a"}), "ANY 1 (a)");
  EXPECT_EQ(text(true, 2, {"a", "node-1", "x\"y"}), "ANY 2 (a,\"node-1\",\"x\"\"y\")");
  EXPECT_EQ(text(false, 1, {"first"}), "\"first\"");
  EXPECT_EQ(to_text(SyncNames()), "");
}

TEST(SyncNames, AreReadAsPostgresReadsThem) {
  EXPECT_TRUE(parse_sync_names("*").anybody);
  EXPECT_TRUE(parse_sync_names("ANY 1 (*)").quorum);
  EXPECT_EQ(parse_sync_names("b, a").names, (std::vector<MemberName>{kA, kB}));
  EXPECT_EQ(parse_sync_names("b, a").count, 1U);
  EXPECT_EQ(parse_sync_names("FIRST 2 (b, \"a\")").count, 2U);
  for (const char* bad : {"ANY (a)", "2 (a", "2 a", "a,,b", "\"a", "a)", "(a)", "a b"}) {
    EXPECT_EQ(parse_sync_names(bad), SyncNames()) << bad;
  }
}

struct SyncWorld : World {
  explicit SyncWorld(SyncMode mode) {
    led_by(kA).as_primary();
    view.settings.synchronous_mode = mode;
    for (auto& sender : self.instance.wal_senders) sender.flushed = Lsn(1000);
    self.sync_sample = Lsn(1000);
    view.sync.leader = kA;
    view.sync.mod_revision = Revision(5);
  }
  [[nodiscard]] SyncStep step() const { return next_sync_step(view, self); }
  // Carries the step out, as the agent does.
  SyncStep::Kind take() {
    const auto next = step();
    if (next.kind == SyncStep::Kind::WriteKey) {
      view.sync = next.key;
      view.sync.mod_revision = Revision(++revision);
    } else if (next.kind == SyncStep::Kind::DeleteKey) {
      view.sync = SyncKey();
    } else if (next.kind == SyncStep::Kind::SetNames) {
      self.instance.synchronous_standby_names = next.names ? to_text(*next.names) : "";
      settle();
    }
    return next.kind;
  }
  void settle() {
    const auto names = parse_sync_names(self.instance.synchronous_standby_names);
    for (auto& sender : self.instance.wal_senders) {
      const bool listed = std::count(names.names.begin(), names.names.end(), MemberName(sender.application_name)) > 0;
      sender.sync_state = !listed ? "async" : names.quorum ? "quorum" : "sync";
    }
  }
  WalSender& sender(std::size_t at) { return self.instance.wal_senders[at]; }
  std::int64_t revision = 5;
};

TEST(Sync, OnAddsAStandbyToTheKeyAfterCommitsWaitForIt) {
  SyncWorld world(SyncMode::On);
  ASSERT_EQ(world.take(), SyncStep::Kind::SetNames);
  EXPECT_EQ(world.self.instance.synchronous_standby_names, "b");
  world.self.sync_sample = Lsn(2000);
  EXPECT_EQ(world.step().kind, SyncStep::Kind::Wait) << "b lacks what was written before";
  world.sender(0).flushed = Lsn(2000);
  ASSERT_EQ(world.take(), SyncStep::Kind::WriteKey);
  EXPECT_EQ(world.view.sync.standbys, std::vector<MemberName>{kB});
  EXPECT_EQ(world.step().kind, SyncStep::Kind::None);
}

TEST(Sync, OnTakesAStandbyOutOfTheKeyBeforeCommitsGoOnWithoutIt) {
  SyncWorld world(SyncMode::On);
  world.take();
  world.take();
  world.self.instance.wal_senders.erase(world.self.instance.wal_senders.begin());
  ASSERT_EQ(world.take(), SyncStep::Kind::WriteKey);
  EXPECT_TRUE(world.view.sync.standbys.empty());
  ASSERT_EQ(world.take(), SyncStep::Kind::SetNames);
  EXPECT_EQ(world.self.instance.synchronous_standby_names, "c");
}

TEST(Sync, WithoutAStandbyCommitsGoOnAloneUnlessStrict) {
  SyncWorld world(SyncMode::On);
  world.take();
  world.take();
  world.self.instance.wal_senders.clear();
  world.take();
  SyncWorld strict = world;
  strict.view.settings.synchronous_mode_strict = true;
  world.take();
  strict.take();
  EXPECT_EQ(world.self.instance.synchronous_standby_names, "");
  EXPECT_EQ(strict.self.instance.synchronous_standby_names, "*");
}

TEST(Sync, TagsAndLagChoose) {
  SyncWorld world(SyncMode::On);
  world.view.members[1].tags.nosync = true;
  EXPECT_EQ(to_text(*world.step().names), "c");
  world.view.members[1].tags.nosync = false;
  world.view.members[2].tags.sync_priority = 5;
  EXPECT_EQ(to_text(*world.step().names), "c");
  world.view.members[2].tags.nofailover = true;
  EXPECT_EQ(to_text(*world.step().names), "b") << "one that may not lead comes last";
  world.view.settings.maximum_lag_on_syncnode = WalBytes(100);
  world.sender(0).flushed = Lsn(800);
  EXPECT_EQ(to_text(*world.step().names), "c");
}

TEST(Sync, TheQuorumGrowsInTheKeyFirst) {
  SyncWorld world(SyncMode::Quorum);
  world.view.sync.standbys = {kB};
  world.self.instance.synchronous_standby_names = "ANY 1 (b)";
  world.settle();
  ASSERT_EQ(world.take(), SyncStep::Kind::WriteKey);
  EXPECT_EQ(world.view.sync.standbys, (std::vector<MemberName>{kB, kC}));
  EXPECT_EQ(world.view.sync.quorum, 1U);
  ASSERT_EQ(world.take(), SyncStep::Kind::SetNames);
  EXPECT_EQ(world.self.instance.synchronous_standby_names, "ANY 1 (b,c)");
  EXPECT_EQ(world.step().kind, SyncStep::Kind::None);
}

TEST(Sync, TheQuorumShrinksInTheServerFirst) {
  SyncWorld world(SyncMode::Quorum);
  world.view.sync.standbys = {kB, kC};
  world.view.sync.quorum = 1;
  world.self.instance.synchronous_standby_names = "ANY 1 (b,c)";
  world.settle();
  world.self.instance.wal_senders.pop_back();
  ASSERT_EQ(world.take(), SyncStep::Kind::SetNames);
  EXPECT_EQ(world.self.instance.synchronous_standby_names, "ANY 1 (b)");
  world.self.sync_sample = Lsn();
  EXPECT_EQ(world.step().kind, SyncStep::Kind::Wait);
  world.self.sync_sample = Lsn(1000);
  ASSERT_EQ(world.take(), SyncStep::Kind::WriteKey);
  EXPECT_EQ(world.view.sync.quorum, 0U);
}

TEST(Sync, OffDeletesTheKeyAndThenTheNames) {
  SyncWorld world(SyncMode::Off);
  world.self.instance.synchronous_standby_names = "b";
  EXPECT_EQ(world.take(), SyncStep::Kind::DeleteKey);
  EXPECT_EQ(world.step().kind, SyncStep::Kind::SetNames);
  EXPECT_FALSE(world.step().names);
}

TEST(Sync, APromotionTakesTheKeyOver) {
  SyncWorld world(SyncMode::On);
  world.view.sync.leader = kC;
  world.view.sync.standbys = {kA, kB};
  auto takeover = sync_takeover(world.view, world.self);
  EXPECT_EQ(takeover.key->leader, kA);
  EXPECT_TRUE(takeover.key->standbys.empty());
  EXPECT_EQ(to_text(*takeover.names), "");
  world.view.settings.synchronous_mode = SyncMode::Quorum;
  world.view.sync.quorum = 1;
  takeover = sync_takeover(world.view, world.self);
  EXPECT_EQ(takeover.key->standbys, (std::vector<MemberName>{kB, kC}));
  EXPECT_EQ(takeover.key->quorum, 1U);
  EXPECT_EQ(to_text(*takeover.names), "ANY 1 (b,c)");
}

// Members come, go, fall behind and catch up, the mode and the count change; each commit waits as the server is told.
// Whoever the key permits to lead has all of them, after every single step.
class SyncCourse {
 public:
  explicit SyncCourse(unsigned seed) : random_(seed), world_(SyncMode::On) {
    world_.view.members.push_back(member(MemberName("d")));
    world_.self.instance.wal_senders.clear();
  }

  void run() {
    for (int i = 0; i < 200 && !testing::Test::HasFailure(); ++i) {
      disturb();
      for (int steps = 0; steps < 4; ++steps) {
        commit();
        check();
        const auto kind = world_.take();
        if (kind == SyncStep::Kind::SetNames) world_.self.sync_sample = Lsn();  // not settled
        check();
        if (kind == SyncStep::Kind::None || kind == SyncStep::Kind::Wait) break;
      }
    }
  }

 private:
  bool chance(unsigned percent) { return random_() % 100 < percent; }
  const MemberName& standby(std::size_t at) { return world_.view.members[at + 1].name; }

  void disturb() {
    auto& senders = world_.self.instance.wal_senders;
    senders.clear();
    for (std::size_t i = 0; i < 3; ++i) {
      if (chance(15)) up_[i] = !up_[i];
      if (!up_[i]) continue;
      if (chance(60)) held_[i] = written_;
      WalSender sender;
      sender.application_name = standby(i).text();
      sender.state = "streaming";
      sender.flushed = Lsn(held_[i]);
      senders.push_back(sender);
    }
    world_.settle();
    if (chance(5)) world_.view.settings.synchronous_mode = chance(50) ? SyncMode::On : SyncMode::Quorum;
    if (chance(5)) world_.view.settings.synchronous_node_count = 1 + random_() % 3;
    if (chance(5)) world_.view.settings.synchronous_mode_strict = chance(50);
    world_.self.instance.flushed = Lsn(written_);
    if (!world_.self.sync_sample.known() && chance(60)) world_.self.sync_sample = Lsn(written_);
  }

  void commit() {
    written_ += 10;
    const auto names = parse_sync_names(world_.self.instance.synchronous_standby_names);
    if (!names.anybody) {
      std::uint32_t have = 0;
      for (std::size_t i = 0; i < 3; ++i) {
        const bool listed = std::count(names.names.begin(), names.names.end(), standby(i)) > 0;
        if (!listed || !up_[i] || (have >= names.count && chance(70))) continue;
        held_[i] = written_;
        ++have;
      }
      if (have < names.count) return;  // it waits
    }
    acknowledged_ = written_;
  }

  void check() {
    const auto& key = world_.view.sync;
    if (key.leader != kA) return;
    for (std::size_t i = 0; i < 3; ++i) {
      std::uint32_t votes = 0;  // the leader's own is never among them: it is gone
      for (std::size_t j = 0; j < 3; ++j) {
        const bool voter = std::count(key.standbys.begin(), key.standbys.end(), standby(j)) > 0;
        if (j != i && voter && held_[j] <= held_[i]) ++votes;
      }
      const bool member_of_key = std::count(key.standbys.begin(), key.standbys.end(), standby(i)) > 0;
      const bool by_votes = world_.view.settings.synchronous_mode == SyncMode::Quorum || key.quorum > 0;
      const bool may_lead = by_votes ? votes >= key.quorum + (member_of_key ? 0 : 1) : member_of_key;
      ASSERT_FALSE(may_lead && held_[i] < acknowledged_)
          << standby(i).text() << " may lead with " << held_[i] << " of " << acknowledged_;
    }
  }

  std::mt19937 random_;
  SyncWorld world_;
  bool up_[3] = {true, true, false};
  std::uint64_t held_[3] = {}, written_ = 1000, acknowledged_ = 0;
};

TEST(Sync, WhoeverTheKeyPermitsHasEveryCommit) {
  for (unsigned seed = 1; seed <= 400 && !HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    SyncCourse(seed).run();
  }
}

}  // namespace
}  // namespace pgvigil::ha::test
