// The real guard program against a stand-in for PostgreSQL: a parent whose children are sessions of their own.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "guard/unix_link.h"

namespace pgvigil::guard {
namespace {

using std::chrono::milliseconds;

class GuardTest : public testing::Test {
 protected:
  GuardTest() {
    std::string path = "/tmp/pgvigil-guard-test-XXXXXX";
    directory = mkdtemp(path.data());
  }
  ~GuardTest() override {
    for (const pid_t pid : tree) kill(pid, SIGKILL);
    if (!tree.empty()) waitpid(tree.front(), nullptr, 0);
    std::filesystem::remove_all(directory);
  }
  [[nodiscard]] UnixGuardLink link(int idle_seconds = 1) const {
    return UnixGuardLink(
        {std::string(PGVIGIL_BIN_DIR) + "/pgvigil-guard", directory + "/guard.sock", directory, idle_seconds});
  }
  // The guard that works for this directory.
  [[nodiscard]] pid_t guard_pid() const {
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      std::ifstream file(entry.path() / "cmdline");
      const std::string line{std::istreambuf_iterator<char>(file), {}};
      if (line.find("pgvigil-guard") != std::string::npos && line.find(directory) != std::string::npos)
        return std::atoi(entry.path().filename().c_str());
    }
    return 0;
  }
  // A parent with three children in sessions of their own, the last one stopped, as a backend may be.
  void start_tree() {
    int ends[2];
    ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
    const pid_t parent = fork();
    if (parent == 0) {
      for (int i = 0; i < 3; ++i) {
        const pid_t child = fork();
        if (child == 0) {
          setsid();
          for (;;) pause();
        }
        if (i == 2) kill(child, SIGSTOP);
        if (write(ends[1], &child, sizeof child) != sizeof child) _exit(1);
      }
      for (;;) pause();
    }
    tree.push_back(parent);
    for (int i = 0; i < 3; ++i) {
      pid_t child = 0;
      ASSERT_EQ(read(ends[0], &child, sizeof child), static_cast<ssize_t>(sizeof child));
      tree.push_back(child);
    }
    close(ends[0]);
    close(ends[1]);
  }
  static bool alive(pid_t pid) {
    std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
    std::string text;
    if (!std::getline(stat, text)) return false;
    return text[text.rfind(')') + 2] != 'Z';
  }
  [[nodiscard]] int living() const {
    return static_cast<int>(std::count_if(tree.begin(), tree.end(), [](pid_t pid) { return alive(pid); }));
  }
  // The moment at which none of the tree is left; max when some still is at `limit`.
  [[nodiscard]] TimePoint end_of_tree(TimePoint limit) const {
    while (boottime_now() < limit) {
      if (living() == 0) return boottime_now();
      std::this_thread::sleep_for(milliseconds(2));
    }
    return TimePoint::max();
  }

  std::string directory;
  std::vector<pid_t> tree;  // the parent first
};

TEST_F(GuardTest, NothingIsLeftAfterTheDeadline) {
  start_tree();
  auto guard = link();
  const TimePoint deadline = boottime_now() + milliseconds(400);
  ASSERT_TRUE(guard.arm(deadline, tree.front()));
  while (boottime_now() < deadline - milliseconds(50)) std::this_thread::sleep_for(milliseconds(5));
  EXPECT_EQ(living(), 4) << "killed before the deadline";
  const TimePoint end = end_of_tree(deadline + std::chrono::seconds(5));
  EXPECT_GE(end, deadline);
  EXPECT_LT(end, deadline + milliseconds(200));
  const auto status = guard.status();
  ASSERT_TRUE(status);
  EXPECT_EQ(status->postmaster_pid, 0);
  EXPECT_EQ(status->kills, 1U);
}

TEST_F(GuardTest, ALaterDeadlineReplacesTheEarlierOne) {
  start_tree();
  auto guard = link();
  const TimePoint first = boottime_now() + milliseconds(200);
  ASSERT_TRUE(guard.arm(first, tree.front()));
  const TimePoint second = first + milliseconds(500);
  ASSERT_TRUE(guard.arm(second, tree.front()));
  EXPECT_GE(end_of_tree(second + std::chrono::seconds(5)), second);
}

TEST_F(GuardTest, SurvivesItsAgentAndIsAdoptedByTheNext) {
  start_tree();
  const TimePoint deadline = boottime_now() + std::chrono::seconds(60);
  const pid_t agent = fork();
  if (agent == 0) {
    auto guard = link();
    _exit(guard.arm(deadline, tree.front()) ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(agent, &status, 0), agent);
  ASSERT_EQ(WEXITSTATUS(status), 0);
  auto guard = link();
  const auto adopted = guard.status();
  ASSERT_TRUE(adopted);
  EXPECT_EQ(adopted->postmaster_pid, tree.front());
  EXPECT_EQ(adopted->deadline, deadline);
  EXPECT_TRUE(guard.disarm());
  EXPECT_EQ(guard.status()->postmaster_pid, 0);
  EXPECT_EQ(living(), 4);
}

// Its queue of connections fills up, and then connect() would wait for it: the agent has to go on, and to step down.
TEST_F(GuardTest, AFrozenGuardHoldsNobodyUp) {
  start_tree();
  auto guard = link();
  ASSERT_TRUE(guard.arm(boottime_now() + std::chrono::seconds(60), tree.front()));
  const pid_t pid = guard_pid();
  ASSERT_NE(pid, 0);
  kill(pid, SIGSTOP);
  for (int attempt = 0; attempt < 15; ++attempt) {
    const TimePoint began = boottime_now();
    EXPECT_FALSE(guard.arm(boottime_now() + std::chrono::seconds(60), tree.front()));
    EXPECT_LT(boottime_now() - began, std::chrono::seconds(2));
  }
  // With nothing left to be guarded it is replaced: its deadline must not strike at what is started next.
  ASSERT_TRUE(guard.disarm());
  ASSERT_TRUE(guard.arm(boottime_now() + std::chrono::seconds(60), tree.front()));
  EXPECT_NE(guard_pid(), pid);
  ASSERT_TRUE(guard.disarm());
}

TEST_F(GuardTest, ADeadlineThatHasPassedIsRefused) {
  start_tree();
  auto guard = link();
  EXPECT_FALSE(guard.arm(boottime_now() - milliseconds(1), tree.front()));
  EXPECT_FALSE(guard.arm(boottime_now() + std::chrono::seconds(60), 999999999));
  EXPECT_EQ(living(), 4);
}

TEST_F(GuardTest, WithoutAGuardThereIsNoStatusAndDisarmIsDone) {
  auto guard = link();
  EXPECT_EQ(guard.status().error().code, Errc::NotFound);
  EXPECT_TRUE(guard.disarm());
}

}  // namespace
}  // namespace pgvigil::guard
