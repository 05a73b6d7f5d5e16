#include "agent_parts.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include "config/dynamic.h"

namespace pgvigil::sim {
namespace {

dcs::ClusterStoreOptions store_options(Cluster& cluster, Machine& machine) {
  dcs::ClusterStoreOptions options;
  options.name_space = "service";
  options.scope = "sim";
  options.self = machine.name;
  options.parse_settings = [](const std::string& json) { return config::parse_cluster_settings(json); };
  if (!machine.disk.cached_config.empty()) {
    if (auto known = config::parse_cluster_settings(machine.disk.cached_config)) options.initial_settings = *known;
  }
  options.seed = cluster.world.rng().next();
  return options;
}

agent::Options agent_options(const Cluster& cluster) {
  agent::Options options;
  options.decide = cluster.rules.decide;
  options.sync_step = cluster.rules.sync_step;
  return options;
}

// What api/documents.cc tells of a server, as api/peer_report.cc reads it.
Result<PeerReport> report_of(const agent::AgentStatus& status, const Instance& instance, bool inflated) {
  if (instance.postmaster != PostmasterState::Running) {
    return fail(Errc::Unavailable, "cannot use the status of", status.name.text(), "PostgreSQL does not answer there");
  }
  PeerReport report;
  report.name = status.name;
  report.running_as_primary = !instance.in_recovery;
  report.role = instance.in_recovery ? Role::Replica : Role::Leader;
  report.state = "running";
  report.wal_end = instance.wal_end();
  if (inflated) report.wal_end = Lsn(report.wal_end.value() + (1ULL << 40U));
  report.timeline = instance.timeline;
  report.tags = status.tags;
  report.watchdog_failed = status.watchdog_failed;
  report.system_id = instance.system_id;
  return report;
}

}  // namespace

std::string SimNode::conn_url() const { return fmt::format("postgres://10.0.0.{}:5432/postgres", machine_.place + 1); }

std::string SimNode::raw_tags() const {
  return machine_.tags.nofailover ? R"({"nofailover": true})" : machine_.tags.nosync ? R"({"nosync": true})" : "";
}

Result<bool> SimNode::adopt_config(const std::string& json) {
  if (auto parsed = config::parse_cluster_settings(json); !parsed) return tl::make_unexpected(parsed.error());
  machine_.disk.cached_config = json;
  return false;
}

Task<Result<PeerReport>> SimPeers::ask(MemberName name, std::string, TimePoint deadline) {
  using Reply = Result<PeerReport>;
  std::function<void(Answer<Reply>)> start = [this, name, deadline](Answer<Reply> answer) {
    Cluster& cluster = cluster_;
    const std::size_t from = machine_.place;
    (void)process_.clock.call_at(deadline, [answer] { answer(fail(Errc::Timeout, "no answer in time")); });
    Machine* peer = cluster.find(name.text());
    if (peer == nullptr || !cluster.network.reaches(from, peer->place)) return;
    cluster.world.after(cluster.network.latency(), [&cluster, from, peer, answer] {
      if (!peer->agent_runs()) return answer(fail(Errc::Unavailable, "connection refused"));
      auto* parts = peer->agent();
      // The answer's coroutine lives in the peer's process and ends with it.
      parts->process->deliver([&cluster, from, peer, parts, answer] {
        asio::co_spawn(
            parts->process->loop(),
            [](Cluster& all, std::size_t asker, Machine& self, Machine::AgentParts& mine,
               Answer<Reply> reply) -> Task<void> {
              const Instance instance = co_await mine.agent.observe_now();
              auto report = report_of(*mine.agent.status(), instance, all.rules.inflated_reports);
              if (!all.network.reaches(self.place, asker)) co_return;
              all.world.after(all.network.latency(), [reply, report] { reply(report); });
            }(cluster, from, *peer, *parts, answer),
            asio::detached);
      });
    });
  };
  co_return co_await process_.wait_for<Reply>(std::move(start));
}

Task<Result<bool>> SimPeers::post_failsafe(std::string api_url, std::string body, TimePoint deadline) {
  using Reply = Result<bool>;
  const std::string host = api_url.substr(7, api_url.find(':', 7) - 7);
  std::optional<Duration> ttl;
  if (const auto at = body.find("\"ttl\":"); at != std::string::npos) {
    ttl = std::chrono::milliseconds(std::stoll(body.substr(at + 6)));
  }
  const std::string sender = machine_.name.text();
  std::function<void(Answer<Reply>)> start = [this, host, sender, ttl, deadline](Answer<Reply> answer) {
    Cluster& cluster = cluster_;
    const std::size_t from = machine_.place;
    const bool silence_counts = cluster.rules.failsafe_silence_counts;
    (void)process_.clock.call_at(deadline, [answer, silence_counts] {
      answer(silence_counts ? Reply(true) : Reply(fail(Errc::Timeout, "no answer in time")));
    });
    Machine* peer = cluster.find(host);
    if (peer == nullptr || !cluster.network.reaches(from, peer->place)) return;
    cluster.world.after(cluster.network.latency(), [&cluster, from, peer, sender, ttl, answer] {
      if (!peer->agent_runs()) return answer(fail(Errc::Unavailable, "connection refused"));
      auto* parts = peer->agent();
      parts->process->deliver([&cluster, from, peer, parts, sender, ttl, answer] {
        if (cluster.rules.failsafe_promise_forgotten) return answer(true);
        const auto reply = parts->agent.failsafe_ping(sender, {}, {}, ttl);
        if (!cluster.network.reaches(peer->place, from)) return;
        const bool accepted = reply.status == 200;
        cluster.world.after(cluster.network.latency(), [answer, accepted] { answer(accepted); });
      });
    });
  };
  co_return co_await process_.wait_for<Reply>(std::move(start));
}

bool SimGuardLink::answers() {
  return machine_.weather.link_errors <= 0 || !cluster_.world.chance(machine_.weather.link_errors);
}

Result<void> SimGuardLink::arm(TimePoint deadline, std::int64_t postmaster_pid) {
  if (!answers()) return fail(Errc::Timeout, "the guard does not answer");
  return machine_.arm(deadline, postmaster_pid);
}

Result<void> SimGuardLink::disarm() {
  if (!answers()) return fail(Errc::Timeout, "the guard does not answer");
  machine_.disarm();
  return {};
}

Result<guard::GuardStatus> SimGuardLink::status() {
  return guard::GuardStatus{machine_.guard.pid, machine_.guard.deadline, machine_.guard.kills};
}

Machine::AgentParts::AgentParts(Cluster& cluster, Machine& machine)
    : process(std::make_shared<Process>(cluster.world, machine.clock, machine.name.text())),
      kv(cluster.etcd, *process, machine.place),
      node(cluster, machine),
      postgres(cluster, machine, process->clock),
      guard(cluster, machine),
      peers(cluster, machine, *process),
      store(process->clock, kv, Log(cluster.world, "sim"), store_options(cluster, machine)),
      agent({process->clock, store, postgres, guard, peers, node, Log(cluster.world, "sim")}, agent_options(cluster)) {}

void Machine::AgentParts::run(std::function<void(int code)> exited) {
  process->deliver([this, exited = std::move(exited)] {
    asio::co_spawn(process->loop(), agent.run(),
                   [exited](const std::exception_ptr& error, int code) { exited(error ? 99 : code); });
  });
}

}  // namespace pgvigil::sim
