// pgvigil-sim: one schedule with its trace, many schedules, or the proof that mutations are caught.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "many.h"
#include "mutations.h"
#include "schedule.h"

namespace pgvigil::sim {
namespace {

struct Arguments {
  std::uint64_t seed = 0, first = 1, schedules = 0;
  unsigned jobs = 0;
  bool trace = false, mutations = false, list = false;
  std::string mutation;
};

int run_one(const Arguments& arguments, const Rules& rules) {
  const Outcome outcome = run_schedule(arguments.seed, rules, arguments.trace);
  std::printf(
      "seed %llu: %llu events and %llu faults in %.1f s of virtual time, %llu promotions, %llu rows acknowledged, "
      "%llu lost, digest %016llx\n",
      static_cast<unsigned long long>(arguments.seed), static_cast<unsigned long long>(outcome.totals.events),
      static_cast<unsigned long long>(outcome.totals.faults), seconds_of(outcome.totals.virtual_time),
      static_cast<unsigned long long>(outcome.totals.promotions),
      static_cast<unsigned long long>(outcome.totals.acknowledged_rows),
      static_cast<unsigned long long>(outcome.totals.lost_rows), static_cast<unsigned long long>(outcome.digest));
  if (!outcome.broken) return 0;
  std::printf("BROKEN at %.4f s: %s\n", seconds_of(outcome.broken_at.since_boot()), outcome.broken->c_str());
  return 1;
}

int run_all(const Arguments& arguments, const Rules& rules) {
  const auto began = std::chrono::steady_clock::now();
  const Many many{arguments.first, arguments.schedules, arguments.jobs, true};
  const Summary done = run_many(many, rules);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  std::printf(
      "%llu schedules, %.1f days of virtual time, %llu faults, %llu promotions, %llu strikes of the guard, "
      "%llu handovers of crashed leaders, %llu drains, %llu leases that ended under failsafe mode, %llu rows "
      "acknowledged, %llu of "
      "them as synchronous; longest from the end of "
      "the faults: %.1f s to a "
      "leader, %.1f s to a whole "
      "cluster; %.1f s with %u jobs\n",
      static_cast<unsigned long long>(done.totals.schedules), seconds_of(done.totals.virtual_time) / 86400,
      static_cast<unsigned long long>(done.totals.faults), static_cast<unsigned long long>(done.totals.promotions),
      static_cast<unsigned long long>(done.totals.guard_kills),
      static_cast<unsigned long long>(done.totals.crash_handovers), static_cast<unsigned long long>(done.totals.drains),
      static_cast<unsigned long long>(done.totals.failsafe_expiries),
      static_cast<unsigned long long>(done.totals.acknowledged_rows),
      static_cast<unsigned long long>(done.totals.promises), seconds_of(done.totals.until_leader),
      seconds_of(done.totals.until_whole), took.count(), arguments.jobs);
  if (!done.failure) return 0;
  std::printf("seed %llu: %s\nreplay it with: pgvigil-sim --seed %llu --trace%s%s\n",
              static_cast<unsigned long long>(done.failure->seed), done.failure->what.c_str(),
              static_cast<unsigned long long>(done.failure->seed), arguments.mutation.empty() ? "" : " --mutation ",
              arguments.mutation.c_str());
  return 1;
}

int prove_mutations(const Arguments& arguments) {
  constexpr std::uint64_t kEnough = 20000;  // those that are caught end long before
  int missed = 0;
  for (const auto& mutation : mutations()) {
    const Summary done = run_many({arguments.first, kEnough, arguments.jobs, false}, mutation.rules);
    if (done.failure) {
      std::printf("caught  %-20s by seed %llu: %s\n", mutation.name.c_str(),
                  static_cast<unsigned long long>(done.failure->seed), done.failure->what.c_str());
    } else {
      ++missed;
      std::printf("MISSED  %-20s in %llu schedules; the rule: %s\n", mutation.name.c_str(),
                  static_cast<unsigned long long>(done.totals.schedules), mutation.what.c_str());
    }
  }
  return missed == 0 ? 0 : 1;
}

int run(int argc, char** argv) {
  CLI::App app("Schedules of faults against simulated clusters of real agents");
  Arguments arguments;
  app.add_option("--seed", arguments.seed, "run this schedule");
  app.add_flag("--trace", arguments.trace, "print what happens, with --seed");
  app.add_option("--schedules", arguments.schedules, "run so many schedules");
  app.add_option("--first", arguments.first, "the first seed of them");
  app.add_option("--jobs", arguments.jobs, "processes side by side (default: one for each core)");
  app.add_option("--mutation", arguments.mutation, "break this rule");
  app.add_flag("--mutations", arguments.mutations, "break each rule in turn; fails when that is not noticed");
  app.add_flag("--list", arguments.list, "list the mutations");
  CLI11_PARSE(app, argc, argv);
  if (arguments.jobs == 0) arguments.jobs = std::max(1U, std::thread::hardware_concurrency());
  Rules rules;
  if (!arguments.mutation.empty()) {
    const auto& all = mutations();
    const auto found =
        std::find_if(all.begin(), all.end(), [&](const auto& m) { return m.name == arguments.mutation; });
    if (found == all.end()) {
      std::fprintf(stderr, "pgvigil-sim: there is no mutation %s; see --list\n", arguments.mutation.c_str());
      return 2;
    }
    rules = found->rules;
  }
  if (arguments.list) {
    for (const auto& mutation : mutations()) std::printf("%-20s %s\n", mutation.name.c_str(), mutation.what.c_str());
    return 0;
  }
  if (arguments.mutations) return prove_mutations(arguments);
  if (arguments.schedules > 0) return run_all(arguments, rules);
  return run_one(arguments, rules);
}

}  // namespace
}  // namespace pgvigil::sim

int main(int argc, char** argv) { return pgvigil::sim::run(argc, argv); }
