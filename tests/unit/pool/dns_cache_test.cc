#include "pool/dns_cache.h"

#include <gtest/gtest.h>

namespace pgvigil::pool {
namespace {

constexpr TimePoint at(int seconds) { return TimePoint(std::chrono::seconds(seconds)); }

std::vector<Address> addresses(std::initializer_list<const char*> texts) {
  std::vector<Address> all;
  for (const char* text : texts) all.push_back(*literal_address(text, 0));
  return all;
}

std::string first(const Result<std::vector<Address>>& answer) { return answer ? answer->front().ip() : "-"; }

class DnsCacheTest : public testing::Test {
 protected:
  DnsCache cache;
  DnsCache::LookUp look_up(int seconds) { return cache.look_up("db.example", {}, at(seconds)); }
};

TEST_F(DnsCacheTest, OneQuestionServesAllWhoWait) {
  EXPECT_TRUE(look_up(0).ask);
  EXPECT_FALSE(look_up(0).ask);
  EXPECT_EQ(cache.asking(), 1U);
  const auto outcome = cache.answered("db.example", addresses({"10.0.0.1", "10.0.0.2"}), at(1));
  ASSERT_EQ(outcome.waiters.size(), 2U);
  EXPECT_EQ(first(outcome.waiters[0].second), "10.0.0.1");
  EXPECT_EQ(first(outcome.waiters[1].second), "10.0.0.2");
  EXPECT_FALSE(outcome.lost_some);
  EXPECT_EQ(cache.asking(), 0U);
}

TEST_F(DnsCacheTest, EachAnswerStartsAtTheNextAddress) {
  look_up(0);
  cache.answered("db.example", addresses({"10.0.0.1", "10.0.0.2", "10.0.0.3"}), at(0));
  EXPECT_EQ(first(look_up(1).answer), "10.0.0.2");
  EXPECT_EQ(first(look_up(1).answer), "10.0.0.3");
  EXPECT_EQ(first(look_up(1).answer), "10.0.0.1");
}

TEST_F(DnsCacheTest, AnAnswerAgesAndIsAskedForAnew) {
  cache.configure(std::chrono::seconds(15), std::chrono::seconds(3));
  look_up(0);
  cache.answered("db.example", addresses({"10.0.0.1"}), at(0));
  EXPECT_TRUE(look_up(14).known);
  EXPECT_TRUE(look_up(15).ask);
}

TEST_F(DnsCacheTest, AVanishedAddressIsTold) {
  look_up(0);
  cache.answered("db.example", addresses({"10.0.0.1", "10.0.0.2"}), at(0));
  EXPECT_TRUE(cache.refresh("db.example"));
  EXPECT_FALSE(cache.refresh("db.example"));
  EXPECT_TRUE(cache.answered("db.example", addresses({"10.0.0.2", "10.0.0.3"}), at(20)).lost_some);
}

TEST_F(DnsCacheTest, SilentNameServersLeaveTheLastAddresses) {
  look_up(0);
  cache.answered("db.example", addresses({"10.0.0.1"}), at(0));
  look_up(20);
  const auto outcome = cache.failed("db.example", Error{Errc::Timeout, "no answer", {}, {}, {}}, at(21));
  EXPECT_EQ(first(outcome.waiters.at(0).second), "10.0.0.1");
  EXPECT_FALSE(outcome.lost_some);
}

TEST_F(DnsCacheTest, ANameThatIsGoneIsAnErrorUntilItAges) {
  cache.configure(std::chrono::seconds(15), std::chrono::seconds(3));
  look_up(0);
  const auto outcome = cache.failed("db.example", Error{Errc::NotFound, "no such name", {}, {}, {}}, at(0));
  EXPECT_FALSE(outcome.waiters.at(0).second);
  EXPECT_TRUE(look_up(2).known);
  EXPECT_TRUE(look_up(3).ask);
}

TEST_F(DnsCacheTest, ForgetsWhatNobodyAsksFor) {
  look_up(0);
  cache.answered("db.example", addresses({"10.0.0.1"}), at(0));
  cache.sweep(at(3000));
  EXPECT_EQ(cache.rows(at(3000)).size(), 1U);
  cache.sweep(at(4000));
  EXPECT_TRUE(cache.rows(at(4000)).empty());
}

}  // namespace
}  // namespace pgvigil::pool
