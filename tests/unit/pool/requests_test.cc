#include "pool/requests.h"

#include <gtest/gtest.h>

namespace pgvigil::pool {
namespace {

std::string types(const Requests& requests) {
  std::string text;
  for (const Request& request : requests) text += request.type;
  return text;
}

Requests filled(std::string_view with) {
  Requests requests;
  for (const char type : with) requests.push_back({type, Answer::Forward, nullptr});
  return requests;
}

TEST(RequestsTest, TheOldestGoesFirst) {
  Requests requests = filled("PBES");
  EXPECT_EQ(requests.front().type, 'P');
  requests.pop_front();
  requests.push_back({'Q', Answer::Forward, nullptr});
  EXPECT_EQ(types(requests), "BESQ");
  EXPECT_EQ(requests.size(), 4U);
  EXPECT_EQ(requests[1].type, 'E');
}

TEST(RequestsTest, ErasesBehindTheFront) {
  Requests requests = filled("xQdcSS");
  requests.pop_front();
  requests.erase(1, 3);
  EXPECT_EQ(types(requests), "QSS");
  requests.erase(0, 3);
  EXPECT_TRUE(requests.empty());
}

TEST(RequestsTest, APipelineThatNeverEmptiesStaysInOrder) {
  Requests requests = filled("ab");
  for (int i = 0; i < 10000; ++i) {
    const char expected = requests.front().type;
    EXPECT_EQ(expected, i % 2 == 0 ? 'a' : 'b');
    requests.push_back({expected, Answer::Forward, nullptr});
    requests.pop_front();
    ASSERT_EQ(requests.size(), 2U);
  }
}

TEST(RequestsTest, AnAnsweredRequestLetsGoOfItsStatement) {
  StatementTable table;
  Requests requests;
  requests.push_back({'P', Answer::Forward, table.intern("SELECT 1")});
  requests.push_back({'S', Answer::Forward, nullptr});
  EXPECT_EQ(table.size(), 1U);
  requests.pop_front();
  EXPECT_EQ(table.size(), 0U);
}

}  // namespace
}  // namespace pgvigil::pool
