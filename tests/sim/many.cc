#include "many.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <vector>

namespace pgvigil::sim {
namespace {

// What a worker tells, in memory that it shares with the parent: readable even when the worker has aborted.
struct Board {
  std::uint64_t seed;  // being run
  bool failed;
  char what[400];
  Totals totals;
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
    board.totals.add(outcome.totals);
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
  std::uninitialized_value_construct_n(boards, many.jobs);
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
    summary.totals.add(board.totals);
    if (board.failed && (!summary.failure || board.seed < summary.failure->seed)) {
      summary.failure = Failure{board.seed, board.what};
    }
  }
  munmap(shared, size);
  return summary;
}

}  // namespace pgvigil::sim
