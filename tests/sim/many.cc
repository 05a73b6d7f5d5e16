#include "many.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <vector>

#include "schedule.h"

namespace pgvigil::sim {
namespace {

// What a worker tells, in memory that it shares with the parent: readable even when the worker has aborted.
struct Board {
  std::uint64_t seed;  // being run
  bool failed;
  char what[400];
  std::uint64_t schedules, events, faults, promotions, acknowledged_rows, lost_rows, guard_kills;
  double virtual_seconds, longest_until_leader, longest_until_whole;
};

void fail_on(Board& board, const std::string& what) {
  board.failed = true;
  std::snprintf(board.what, sizeof(board.what), "%s", what.c_str());
}

void work(const Many& many, const Rules& rules, unsigned worker, Board* boards) {
  Board& board = boards[worker];
  for (std::uint64_t i = worker; i < many.count; i += many.jobs) {
    for (unsigned other = 0; other < many.jobs; ++other) {
      if (boards[other].failed) return;
    }
    board.seed = many.first + i;
    const Outcome outcome = run_schedule(board.seed, rules, false);
    ++board.schedules;
    board.events += outcome.events;
    board.faults += outcome.faults;
    board.promotions += outcome.promotions;
    board.acknowledged_rows += outcome.acknowledged_rows;
    board.lost_rows += outcome.lost_rows;
    board.guard_kills += outcome.guard_kills;
    board.virtual_seconds += seconds_of(outcome.virtual_time);
    board.longest_until_leader = std::max(board.longest_until_leader, seconds_of(outcome.until_leader));
    board.longest_until_whole = std::max(board.longest_until_whole, seconds_of(outcome.until_whole));
    if (outcome.broken) return fail_on(board, *outcome.broken);
    if (many.replay_some && board.seed % 100 == 0) {
      if (run_schedule(board.seed, rules, false).digest != outcome.digest) {
        return fail_on(board, "a second run of the seed took another course");
      }
    }
  }
}

}  // namespace

Summary run_many(const Many& many, const Rules& rules) {
  const std::size_t size = sizeof(Board) * many.jobs;
  void* shared = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  Summary summary;
  if (shared == MAP_FAILED) {
    summary.failure = Failure{many.first, "no memory to share with the workers"};
    return summary;
  }
  auto* boards = static_cast<Board*>(shared);
  std::memset(shared, 0, size);
  std::fflush(nullptr);
  std::vector<pid_t> workers;
  for (unsigned i = 0; i < many.jobs; ++i) {
    const pid_t pid = fork();
    if (pid == 0) {
      work(many, rules, i, boards);
      _exit(0);
    }
    workers.push_back(pid);
  }
  for (unsigned i = 0; i < many.jobs; ++i) {
    int status = 0;
    if (workers[i] < 0 || waitpid(workers[i], &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
      if (!boards[i].failed) fail_on(boards[i], "the simulator was ended by an assertion or a signal");
    }
    const Board& board = boards[i];
    summary.schedules += board.schedules;
    summary.events += board.events;
    summary.faults += board.faults;
    summary.promotions += board.promotions;
    summary.acknowledged_rows += board.acknowledged_rows;
    summary.lost_rows += board.lost_rows;
    summary.guard_kills += board.guard_kills;
    summary.virtual_seconds += board.virtual_seconds;
    summary.longest_until_leader = std::max(summary.longest_until_leader, board.longest_until_leader);
    summary.longest_until_whole = std::max(summary.longest_until_whole, board.longest_until_whole);
    if (board.failed && (!summary.failure || board.seed < summary.failure->seed)) {
      summary.failure = Failure{board.seed, board.what};
    }
  }
  munmap(shared, size);
  return summary;
}

}  // namespace pgvigil::sim
