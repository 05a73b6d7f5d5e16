#include "ha/drain.h"

#include <gtest/gtest.h>

namespace pgvigil::ha {
namespace {

Pooler pooler(const char* name, std::optional<PoolerDrain> drain = std::nullopt) {
  Pooler p;
  p.name = name;
  p.drain = std::move(drain);
  return p;
}

TEST(DrainProgress, IsCompleteWithoutPoolers) { EXPECT_TRUE(drain_progress(ClusterView(), "7-1").complete()); }

TEST(DrainProgress, WaitsForEveryPoolerThatIsRegistered) {
  ClusterView view;
  view.poolers = {pooler("silent"), pooler("busy", PoolerDrain{"7-1", false, 3, 10}),
                  pooler("done", PoolerDrain{"7-1", true, 0, 4})};
  const auto progress = drain_progress(view, "7-1");
  EXPECT_EQ(progress.poolers, 3U);
  EXPECT_EQ(progress.undrained, 2U);
  EXPECT_EQ(progress.active, 3U);
  view.poolers = {view.poolers.back()};
  EXPECT_TRUE(drain_progress(view, "7-1").complete()) << "whoever is gone is waited for no longer";
}

TEST(DrainProgress, AnAnswerToAnotherRequestDoesNotCount) {
  ClusterView view;
  view.poolers = {pooler("late", PoolerDrain{"7-0", true, 5, 0})};
  const auto progress = drain_progress(view, "7-1");
  EXPECT_FALSE(progress.complete());
  EXPECT_EQ(progress.active, 0U);
}

}  // namespace
}  // namespace pgvigil::ha
