// The watchdog against a plain file (the `testing` driver): what is written, and when it is not used.
#include "guard/watchdog.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

namespace pgvigil::guard {
namespace {

using std::chrono::seconds;

struct Lines final : LogSink {
  void write(LogLevel, std::string_view, std::string_view message) override { all.emplace_back(message); }
  [[nodiscard]] bool enabled(LogLevel) const override { return true; }
  std::vector<std::string> all;
};

class WatchdogTest : public testing::Test {
 protected:
  WatchdogTest() {
    std::string path = "/tmp/pgvigil-watchdog-test-XXXXXX";
    directory = mkdtemp(path.data());
    settings.device = directory + "/watchdog";
    settings.testing = true;
  }
  ~WatchdogTest() override { std::filesystem::remove_all(directory); }
  void make_device() const { std::ofstream(settings.device).flush(); }
  [[nodiscard]] std::string written() const {
    std::ifstream file(settings.device);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::string directory;
  Lines lines;
  WatchdogSettings settings;
};

TEST_F(WatchdogTest, IsFedAndEndedInOrder) {
  make_device();
  Watchdog watchdog(Log(lines, "test"), settings);
  EXPECT_TRUE(watchdog.usable());
  EXPECT_EQ(written(), "") << "asking does not start it";
  EXPECT_TRUE(watchdog.feed(seconds(30), seconds(10)));
  EXPECT_TRUE(watchdog.feed(seconds(30), seconds(10)));
  EXPECT_EQ(written(), "11");
  watchdog.stop();
  EXPECT_EQ(written(), "11V");
  watchdog.stop();
  EXPECT_EQ(written(), "11V");
}

TEST_F(WatchdogTest, AMissingDeviceIsSaidOnce) {
  Watchdog watchdog(Log(lines, "test"), settings);
  EXPECT_FALSE(watchdog.usable());
  EXPECT_FALSE(watchdog.feed(seconds(30), seconds(10)));
  EXPECT_FALSE(watchdog.feed(seconds(30), seconds(10)));
  EXPECT_EQ(lines.all.size(), 1U);
  make_device();
  EXPECT_TRUE(watchdog.feed(seconds(30), seconds(10)));
}

TEST_F(WatchdogTest, TooShortATimeIsRefusedAndEndsIt) {
  make_device();
  Watchdog watchdog(Log(lines, "test"), settings);
  EXPECT_TRUE(watchdog.feed(seconds(30), seconds(10)));
  EXPECT_FALSE(watchdog.feed(seconds(12), seconds(10))) << "7 s would not reach from one renewal to the next";
  EXPECT_EQ(written(), "1V");
  settings.safety_margin = seconds(-1);
  Watchdog half(Log(lines, "test"), settings);
  EXPECT_TRUE(half.feed(seconds(5), seconds(2)));
}

// A file is no watchdog: without the testing driver it does not answer the device's questions.
TEST_F(WatchdogTest, WhatIsNoDeviceIsNotUsed) {
  make_device();
  settings.testing = false;
  settings.required = true;
  Watchdog watchdog(Log(lines, "test"), settings);
  EXPECT_FALSE(watchdog.feed(seconds(30), seconds(10)));
  EXPECT_NE(lines.all.back().find("does not tell its timeout"), std::string::npos) << lines.all.back();
}

}  // namespace
}  // namespace pgvigil::guard
