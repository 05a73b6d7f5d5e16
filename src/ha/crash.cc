#include "ha/crash.h"

#include "ha/step_down.h"

namespace pgvigil::ha {
namespace {

constexpr WalBytes kQuickerInPlace{std::int64_t{32} << 20};

// Empty: `name` holds all of the WAL that ends at `crash`. A position on another timeline says nothing.
std::string lacks(const PeerReport& report, const WalEnd& crash) {
  if (report.running_as_primary) return "runs as a primary";
  if (report.timeline != crash.timeline) return fmt::format("is on timeline {}", report.timeline.value());
  if (report.wal_end < crash.end) {
    return fmt::format("lacks {} bytes", static_cast<std::int64_t>(crash.end - report.wal_end));
  }
  return {};
}

}  // namespace

bool handover_is_quicker(WalBytes to_replay) { return to_replay > kQuickerInPlace; }

CrashPlan plan_after_crash(const Situation& at) {
  CrashPlan plan;
  if (!at.settings.lossless_failover) return plan;
  plan.seek = !at.self.wal_end_sought;
  if (plan.seek || !at.self.wal_end) return plan;
  const WalEnd& crash = *at.self.wal_end;
  const auto amount = fmt::format("its WAL ends at {} with {} bytes to replay", to_string(crash.end),
                                  static_cast<std::int64_t>(crash.to_replay()));
  if (!handover_is_quicker(crash.to_replay()) && !at.flapping()) {
    plan.why = amount + ", quicker in place than by a handover";
    return plan;
  }
  std::string without;
  int priority = 0;
  for (const auto& candidate : candidates(at, {}, false)) {
    std::string obstacle = candidate.obstacle;
    const auto* report = at.report_of(candidate.name);
    if (obstacle.empty()) obstacle = report != nullptr ? lacks(*report, crash) : "does not answer";
    if (!obstacle.empty()) {
      without += fmt::format("; {} {}", candidate.name.text(), obstacle);
    } else if (plan.successor.empty() || report->tags.failover_priority > priority) {
      plan.successor = candidate.name;
      priority = report->tags.failover_priority;
    }
  }
  plan.why = plan.successor.empty()
                 ? fmt::format("{}, and no member that could lead holds all of it{}", amount, without)
                 : fmt::format("{}, and {} holds all of it: nothing is lost", amount, plan.successor.text());
  return plan;
}

}  // namespace pgvigil::ha
