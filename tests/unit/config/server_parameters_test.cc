// Parameters of PostgreSQL against the server's own list.
#include "config/server_parameters.h"

#include <gtest/gtest.h>

namespace pgvigil::config {
namespace {

constexpr const char* kDescribed =
    "shared_buffers\tpostmaster\tMemory\tINTEGER\t0\t16\t1073741823\tSets the number.\t\n"
    "work_mem\tuser\tMemory\tINTEGER\t0\t64\t2147483647\tSets the maximum.\t\n"
    "fsync\tsighup\tWAL\tBOOLEAN\tFALSE\t\t\tForces.\t\n"
    "seq_page_cost\tuser\tPlanner\tREAL\t0\t0\t1.79769e+308\tSets.\t\n"
    "log_directory\tsighup\tLogs\tSTRING\tlog\t\t\tSets.\t\n"
    "not a line\n";

std::string said(const std::string& name, const std::string& value) {
  Value parameters = Value::map();
  parameters.set(name, Value::scalar(value, {"f.yml", 3, 5}));
  Problems problems;
  check_server_parameters(parameters, "p", parse_described(kDescribed), problems);
  return problems.empty() ? "" : problems.front().message();
}

TEST(ServerParameters, AreReadFromTheServersList) {
  const auto known = parse_described(kDescribed);
  ASSERT_EQ(known.size(), 5U);
  EXPECT_EQ(known[1].name, "work_mem");
  EXPECT_EQ(known[1].type, ServerParameter::Type::Integer);
  EXPECT_EQ(known[1].smallest, "64");
}

TEST(ServerParameters, GoodOnesAreLeftAlone) {
  for (const auto& [name, value] : std::vector<std::pair<std::string, std::string>>{{"work_mem", "4MB"},
                                                                                    {"WORK_MEM", "64"},
                                                                                    {"work_mem", "1 GB"},
                                                                                    {"fsync", "of"},
                                                                                    {"fsync", "True"},
                                                                                    {"seq_page_cost", "1.5"},
                                                                                    {"log_directory", "x"},
                                                                                    {"pg_stat_statements.track", "all"},
                                                                                    {"zzz_unheard_of", "1"}}) {
    EXPECT_EQ(said(name, value), "") << name << " = " << value;
  }
}

TEST(ServerParameters, MistakesAreNamedWithWhatWouldBeValid) {
  EXPECT_NE(said("shared_bufers", "1MB").find("did you mean \"shared_buffers\"?"), std::string::npos);
  EXPECT_EQ(said("work_mem", "4XB"),
            "f.yml:3: p.work_mem: \"4XB\": \"XB\" is no unit, expected B, kB, MB, GB, TB, us, ms, s, min, h or d");
  EXPECT_EQ(said("work_mem", "many"), "f.yml:3: p.work_mem: \"many\": expected a number");
  EXPECT_EQ(said("work_mem", "1"), "f.yml:3: p.work_mem: \"1\": expected 64 to 2147483647");
  EXPECT_EQ(said("fsync", "o"), "f.yml:3: p.fsync: \"o\": expected on or off");
}

}  // namespace
}  // namespace pgvigil::config
