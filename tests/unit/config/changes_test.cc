#include "config/changes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pgvigil::config {
namespace {

using ::testing::ElementsAre;

TEST(ChangesBetween, NamesEveryLeafThatDiffers) {
  EXPECT_THAT(changes_between(R"({"ttl":30,"postgresql":{"parameters":{"work_mem":"4MB","jit":"off"}},"pause":true})",
                              R"({"ttl":20,"postgresql":{"parameters":{"work_mem":"8MB","a.b":"1","jit":"off"}}})"),
              ElementsAre("pause: true -> (none)", "postgresql.parameters.a.b: (none) -> 1",
                          "postgresql.parameters.work_mem: 4MB -> 8MB", "ttl: 30 -> 20"));
}

TEST(ChangesBetween, ListsAndEmptySectionsAreOneValue) {
  EXPECT_THAT(changes_between(R"({"ignore_slots":[{"name":"a"}]})", R"({"ignore_slots":[],"slots":{}})"),
              ElementsAre(R"(ignore_slots: [{"name":"a"}] -> [])", "slots: (none) -> {}"));
}

TEST(ChangesBetween, PasswordsStayHiddenAndTheirChangeDoesNot) {
  EXPECT_THAT(changes_between(R"({"x":{"password":"old"}})", R"({"x":{"password":"new"}})"),
              ElementsAre("x.password: *** -> ***"));
}

TEST(ChangesBetween, WhatIsNoObjectIsEmpty) {
  EXPECT_THAT(changes_between("nonsense", R"({"ttl":30})"), ElementsAre("ttl: (none) -> 30"));
  EXPECT_THAT(changes_between(R"({"ttl":30})", R"({"ttl":30})"), ElementsAre());
}

}  // namespace
}  // namespace pgvigil::config
