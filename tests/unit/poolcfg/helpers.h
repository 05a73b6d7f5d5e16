// What the tests of this room share.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "poolcfg/settings.h"

namespace pgvigil::poolcfg {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

inline PoolConfig good(const std::string& text) {
  auto config = parse_config(text, "p.ini");
  if (config) return std::move(*config);
  ADD_FAILURE() << config.error().message();
  return {};
}

inline std::string refusal(const std::string& text) {
  const auto config = parse_config(text, "p.ini");
  return config ? std::string("was accepted") : config.error().message();
}

// A line of [pgbouncer]; it is line 2.
inline PoolConfig with(const std::string& line) { return good("[pgbouncer]\n" + line + "\n"); }
inline std::string without(const std::string& line) { return refusal("[pgbouncer]\n" + line + "\n"); }
// The value of an entry in [databases]; it is line 3.
inline DatabaseEntry database(const std::string& value) {
  const PoolConfig config = good("[pgbouncer]\n[databases]\ndb = " + value + "\n");
  const auto found = config.databases.find("db");
  return found == config.databases.end() ? DatabaseEntry{} : found->second;
}
inline std::string no_database(const std::string& value) {
  return refusal("[pgbouncer]\n[databases]\ndb = " + value + "\n");
}

class Directory {
 public:
  Directory() {
    std::string name = (std::filesystem::temp_directory_path() / "pgvigil-poolcfg-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) ADD_FAILURE() << "no temporary directory";
    path_ = name;
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  ~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ / name) << text;
    return (path_ / name).string();
  }
  [[nodiscard]] std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

}  // namespace pgvigil::poolcfg
