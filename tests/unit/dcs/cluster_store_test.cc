#include "dcs/cluster_store.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>

#include "support/memory_kv.h"

namespace pgvigil::dcs {
namespace {

class NullSink final : public LogSink {
 public:
  void write(LogLevel, std::string_view, std::string_view) override {}
  [[nodiscard]] bool enabled(LogLevel) const override { return false; }
};

class ClusterStoreTest : public testing::Test {
 protected:
  using Changed = std::vector<std::string>;

  ClusterStoreTest()
      : clock(make_system_clock(loop.get_executor())), kv(*clock), store(&make("a")), other(&make("b")) {}

  // A store's coroutine ends after stop(), when the loop runs; before that neither may be destroyed.
  ~ClusterStoreTest() override {
    for (const auto& made : stores) made->stop();
    until([this] {
      return std::none_of(stores.begin(), stores.end(), [](const auto& made) { return made->following(); });
    });
    loop.restart();
    loop.poll();
  }

  ClusterStore& make(const std::string& name) {
    ClusterStoreOptions options;
    options.scope = "demo";
    options.self = MemberName(name);
    options.parse_settings = [](const std::string& json) -> Result<ClusterSettings> {
      if (json != "{}") return fail(Errc::InvalidConfig, "unusable");
      ClusterSettings settings;
      settings.ttl = std::chrono::seconds(20);
      return settings;
    };
    return *stores.emplace_back(std::make_unique<ClusterStore>(*clock, kv, Log(sink, "test"), std::move(options)));
  }
  template <class T>
  T run(Task<T> task) {
    std::optional<T> result;
    asio::co_spawn(
        loop, [&]() -> Task<void> { result = co_await std::move(task); }, asio::detached);
    while (!result) {
      loop.restart();
      loop.run_one_for(std::chrono::seconds(5));
    }
    return std::move(*result);
  }
  // Lets everything that is ready happen; true when `condition` holds within the deadline.
  template <class Condition>
  bool until(Condition condition) {
    for (int i = 0; i < 500 && !condition(); ++i) {
      loop.restart();
      loop.run_one_for(std::chrono::milliseconds(10));
    }
    return condition();
  }
  [[nodiscard]] TimePoint soon() const { return clock->now() + std::chrono::seconds(5); }
  bool started(ClusterStore& which) {
    which.start();
    return until([&] { return which.view() != nullptr && which.following(); });
  }
  void lead(ClusterStore& which) {
    ASSERT_TRUE(run(which.ensure_lease(soon())));
    ASSERT_EQ(run(which.acquire_leader(soon())).outcome, WriteOutcome::Applied);
  }

  NullSink sink;
  asio::io_context loop;
  std::unique_ptr<Clock> clock;
  test::MemoryKv kv;
  std::vector<std::unique_ptr<ClusterStore>> stores;
  ClusterStore *store, *other;
  const std::string leader = "/service/demo/leader";
};

TEST_F(ClusterStoreTest, FollowsEveryKey) {
  kv.put("/service/demo/initialize", "7711555499471225088");
  kv.put("/service/demo/members/b", R"({"state":"running","role":"replica"})");
  kv.put("/service/demo/members/b/deeper", "{}");
  kv.put("/service/other/leader", "x");
  Changed changed;
  store->on_change([&](const Changed& keys) { changed.insert(changed.end(), keys.begin(), keys.end()); });
  ASSERT_TRUE(started(*store));
  EXPECT_EQ(store->view()->initialize, "7711555499471225088");
  ASSERT_EQ(store->view()->members.size(), 1U);
  EXPECT_FALSE(store->view()->leader);
  const auto before = store->view();
  kv.put("/service/demo/leader", "b");
  EXPECT_TRUE(until([&] { return store->view()->led_by(MemberName("b")); }));
  EXPECT_FALSE(before->leader) << "a view that was handed out does not change";
  kv.erase("/service/demo/leader");
  EXPECT_TRUE(until([&] { return !store->view()->leader; }));
  EXPECT_NE(std::find(changed.begin(), changed.end(), "leader"), changed.end());
}

TEST_F(ClusterStoreTest, GoesOnAfterALostWatchAndACompaction) {
  ASSERT_TRUE(started(*store));
  for (const auto why : {Errc::Unavailable, Errc::Compacted}) {
    kv.break_watches(why);
    ASSERT_TRUE(until([&] { return !store->following(); }));
    kv.put("/service/demo/leader", why == Errc::Compacted ? "c" : "b");
    EXPECT_TRUE(until([&] { return store->view()->led_by(MemberName(why == Errc::Compacted ? "c" : "b")); }));
  }
}

TEST_F(ClusterStoreTest, AConfigThatTurnsBadOrVanishesLeavesTheLastGoodOne) {
  kv.put("/service/demo/config", "{}");
  ASSERT_TRUE(started(*store));
  EXPECT_EQ(store->view()->settings.ttl, std::chrono::seconds(20));
  kv.put("/service/demo/config", "nonsense");
  ASSERT_TRUE(until([&] { return store->view()->config == "nonsense"; }));
  EXPECT_EQ(store->view()->settings.ttl, std::chrono::seconds(20));
  kv.erase("/service/demo/config");
  ASSERT_TRUE(until([&] { return !store->view()->config; }));
  EXPECT_EQ(store->view()->settings.ttl, std::chrono::seconds(20));
}

TEST_F(ClusterStoreTest, OnlyOneTakesTheLeaderKey) {
  ASSERT_TRUE(started(*store) && started(*other));
  lead(*store);
  EXPECT_TRUE(store->view()->led_by(MemberName("a"))) << "an own write is seen at once";
  ASSERT_TRUE(run(other->ensure_lease(soon())));
  EXPECT_EQ(run(other->acquire_leader(soon())).outcome, WriteOutcome::Refused);
  EXPECT_EQ(kv.value(leader), "a");
}

TEST_F(ClusterStoreTest, AThawedLeaderCannotTakeTheKeyBack) {
  ASSERT_TRUE(started(*store) && started(*other));
  lead(*store);
  store->stop();  // from here on its view is what it was: the leader is frozen
  ASSERT_TRUE(until([&] { return !store->following(); }));
  kv.expire(store->lease()->lease);
  lead(*other);
  ASSERT_TRUE(store->view()->led_by(MemberName("a"))) << "it still believes that it leads";
  EXPECT_EQ(run(store->reattach_leader(soon())).outcome, WriteOutcome::Refused);
  EXPECT_EQ(run(store->acquire_leader(soon())).outcome, WriteOutcome::Refused);
  EXPECT_EQ(run(store->release_leader(std::nullopt, std::nullopt, soon())).outcome, WriteOutcome::Refused);
  EXPECT_EQ(kv.value(leader), "b");
  EXPECT_EQ(run(store->ensure_lease(soon())).error().code, Errc::LeaseLost);
  EXPECT_FALSE(store->lease());
}

TEST_F(ClusterStoreTest, ARestartedAgentReattachesItsKey) {
  ASSERT_TRUE(started(*store));
  lead(*store);
  const auto term = store->view()->leader->term;
  auto* restarted = &make("a");
  ASSERT_TRUE(started(*restarted));
  ASSERT_TRUE(run(restarted->ensure_lease(soon())));
  EXPECT_EQ(run(restarted->reattach_leader(soon())).outcome, WriteOutcome::Applied);
  EXPECT_EQ(restarted->view()->leader->lease, restarted->lease()->lease);
  EXPECT_EQ(restarted->view()->leader->term, term) << "the reign goes on";
  kv.expire(store->lease()->lease);
  EXPECT_EQ(kv.value(leader), "a") << "the old lease takes nothing along";
}

TEST_F(ClusterStoreTest, ReleaseWritesThePositionInTheSameTransaction) {
  ASSERT_TRUE(started(*store));
  lead(*store);
  ClusterStatus status;
  status.optime = Lsn(500);
  EXPECT_EQ(run(store->release_leader(status, std::nullopt, soon())).outcome, WriteOutcome::Applied);
  EXPECT_FALSE(kv.has(leader));
  EXPECT_EQ(kv.value("/service/demo/status"), R"({"optime":500})");
  EXPECT_FALSE(store->view()->leader);
}

TEST_F(ClusterStoreTest, OnlyTheLeaderAsksThePoolersToDrain) {
  const std::string drain = "/service/demo/drain";
  ASSERT_TRUE(started(*store) && started(*other));
  lead(*store);
  DrainRequest request;
  request.id = "1-1";
  request.reason = "switchover";
  request.leader = MemberName("a");
  request.term = store->view()->leader->term;
  EXPECT_EQ(run(store->write_drain(request, soon())).outcome, WriteOutcome::Applied);
  ASSERT_TRUE(store->view()->drain);
  EXPECT_EQ(store->view()->drain->id, "1-1");
  EXPECT_EQ(run(store->delete_drain(soon())).outcome, WriteOutcome::Applied);
  EXPECT_FALSE(kv.has(drain));

  request.term = Term(Revision(request.term.value() + 1));
  EXPECT_EQ(run(store->write_drain(request, soon())).outcome, WriteOutcome::Refused) << "of another reign";
  ASSERT_TRUE(run(other->ensure_lease(soon())));
  request.term = store->view()->leader->term;
  EXPECT_EQ(run(other->write_drain(request, soon())).outcome, WriteOutcome::Refused);
  EXPECT_FALSE(kv.has(drain));
}

TEST_F(ClusterStoreTest, ARequestToDrainEndsWithTheReign) {
  const std::string drain = "/service/demo/drain";
  ASSERT_TRUE(started(*store) && started(*other));
  lead(*store);
  DrainRequest request;
  request.id = "1-1";
  request.leader = MemberName("a");
  request.term = store->view()->leader->term;
  ASSERT_EQ(run(store->write_drain(request, soon())).outcome, WriteOutcome::Applied);
  EXPECT_EQ(run(store->release_leader(std::nullopt, std::nullopt, soon())).outcome, WriteOutcome::Applied);
  EXPECT_FALSE(kv.has(drain)) << "the lease goes on, and the request does not";

  ASSERT_EQ(run(store->acquire_leader(soon())).outcome, WriteOutcome::Applied);
  request.term = store->view()->leader->term;
  ASSERT_EQ(run(store->write_drain(request, soon())).outcome, WriteOutcome::Applied);
  kv.expire(store->lease()->lease);
  EXPECT_FALSE(kv.has(drain)) << "a leader that dies leaves nothing behind";
  lead(*other);
  EXPECT_EQ(run(store->write_drain(request, soon())).outcome, WriteOutcome::Refused);
}

TEST_F(ClusterStoreTest, FollowsThePoolers) {
  ASSERT_TRUE(started(*store));
  kv.put("/service/demo/poolers/p2", R"({"listen":"h:6432"})");
  kv.put("/service/demo/poolers/p1", "{}");
  kv.put("/service/demo/poolers/p1/deeper", "{}");
  ASSERT_TRUE(until([&] { return store->view()->poolers.size() == 2; }));
  EXPECT_EQ(store->view()->poolers[0].name, "p1");
  EXPECT_EQ(store->view()->poolers[1].listen, "h:6432");
  kv.put("/service/demo/poolers/p1", R"({"drain":{"id":"1-1","state":"drained"}})");
  ASSERT_TRUE(until([&] { return store->view()->poolers[0].drain.has_value(); }));
  kv.erase("/service/demo/poolers/p1");
  EXPECT_TRUE(until([&] { return store->view()->poolers.size() == 1; }));
}

TEST_F(ClusterStoreTest, AnUnansweredWriteIsUnknown) {
  ASSERT_TRUE(started(*store));
  ASSERT_TRUE(run(store->ensure_lease(soon())));
  kv.lose_replies = true;
  EXPECT_EQ(run(store->acquire_leader(soon())).outcome, WriteOutcome::Unknown);
  kv.lose_replies = false;
  ASSERT_TRUE(run(store->refresh(soon())));
  EXPECT_TRUE(store->view()->led_by(MemberName("a")));
  // Asked again, the store says that the key is ours already.
  EXPECT_EQ(run(store->acquire_leader(soon())).outcome, WriteOutcome::Applied);
}

TEST_F(ClusterStoreTest, AClaimWhoseAnswerWasLostIsRecognised) {
  ASSERT_TRUE(started(*store));
  ASSERT_TRUE(run(store->ensure_lease(soon())));
  kv.lose_replies = true;
  EXPECT_EQ(run(store->claim_initialize(soon())).outcome, WriteOutcome::Unknown);
  kv.lose_replies = false;
  ASSERT_TRUE(run(store->refresh(soon())));
  EXPECT_EQ(store->view()->initialize, "");
  EXPECT_EQ(store->view()->bootstrap_owner, MemberName("a"));
  EXPECT_TRUE(store->view()->bootstrap_alive);
  EXPECT_EQ(run(store->write_initialize(SystemId("7711555499471225088"), soon())).outcome, WriteOutcome::Applied);
  EXPECT_TRUE(store->view()->bootstrap_owner.empty());
  EXPECT_FALSE(store->view()->bootstrap_alive);
}

TEST_F(ClusterStoreTest, ANewTtlMeansANewLease) {
  ASSERT_TRUE(started(*store));
  const auto first = run(store->ensure_lease(soon()));
  ASSERT_TRUE(first);
  EXPECT_EQ(first->ttl, std::chrono::seconds(30));
  kv.put("/service/demo/config", "{}");
  ASSERT_TRUE(until([&] { return store->view()->settings.ttl == std::chrono::seconds(20); }));
  const auto second = run(store->ensure_lease(soon()));
  ASSERT_TRUE(second);
  EXPECT_NE(second->lease, first->lease);
  EXPECT_EQ(second->ttl, std::chrono::seconds(20));
}

TEST(Prefix, IsCollapsedAndEndsBehindItsKeys) {
  EXPECT_EQ(cluster_prefix("service", "demo"), "/service/demo/");
  EXPECT_EQ(cluster_prefix("/a//b/", "demo"), "/a/b/demo/");
  EXPECT_EQ(prefix_end("/service/demo/"), "/service/demo0");
  EXPECT_EQ(prefix_end(std::string("a\xff", 2)), "b");
}

}  // namespace
}  // namespace pgvigil::dcs
