#include "faults.h"

#include "agent_parts.h"
#include "boost/asio/co_spawn.hpp"
#include "boost/asio/detached.hpp"

namespace pgvigil::sim {

Faults::Faults(Cluster& cluster) : cluster_(cluster), world_(cluster.world) {
  static constexpr Duration kPaces[] = {600ms, 1500ms, 3s, 6s};
  pace_ = kPaces[world_.below(4)];
  const std::vector<std::pair<unsigned, void (Faults::*)()>> all = {
      {8, &Faults::kill_postgres}, {6, &Faults::kill_agent},       {4, &Faults::stop_agent},
      {6, &Faults::freeze_agent},  {5, &Faults::freeze_machine},   {6, &Faults::crash_machine},
      {8, &Faults::cut_from_etcd}, {6, &Faults::cut_between},      {6, &Faults::isolate},
      {4, &Faults::lose_quorum},   {4, &Faults::move_etcd_leader}, {5, &Faults::trouble_etcd},
      {4, &Faults::slow_disk},     {3, &Faults::stick_disk},       {5, &Faults::slow_stream},
      {2, &Faults::mute_guard},    {10, &Faults::switch_over},     {3, &Faults::fail_over},
      {4, &Faults::restart},       {2, &Faults::reinitialize},     {2, &Faults::change_settings},
      {2, &Faults::change_sync},
  };
  // Some schedules see all kinds, some only a few of them again and again: rare combinations need both.
  const bool few = world_.chance(0.4);
  for (const auto& kind : all) {
    if (!few || world_.chance(0.25)) kinds_.push_back(kind);
  }
  if (kinds_.empty()) kinds_.push_back(all.front());
  for (const auto& kind : kinds_) weights_ += kind.first;
}

void Faults::start() {
  running_ = true;
  plan_next();
}

void Faults::plan_next() {
  world_.after(world_.between(pace_ / 10, pace_ * 2), [this] {
    if (!running_) return;
    strike();
    plan_next();
  });
}

void Faults::strike() {
  auto choice = static_cast<unsigned>(world_.below(weights_));
  for (const auto& [weight, fault] : kinds_) {
    if (choice < weight) {
      ++count_;
      (this->*fault)();
      return;
    }
    choice -= weight;
  }
}

void Faults::stop() {
  running_ = false;
  world_.note("--- the faults end");
  cluster_.network.mend_all();
  cluster_.etcd.set_trouble({});
  cluster_.etcd.regain_quorum();
  cluster_.slow_promotions = false;
  cluster_.poolers.be_prompt();
  dcs::Txn withdraw;  // what operators have asked for and nobody has carried out yet
  withdraw.success.emplace_back(dcs::Delete{Cluster::key("failover"), {}});
  (void)cluster_.etcd.apply(withdraw);
  for (const auto& machine : cluster_.machines) {
    machine->weather = Weather();
    machine->thaw();
    if (!machine->powered()) {
      machine->power_on();
    } else if (machine->agent() == nullptr) {
      machine->start_agent();
    } else if (machine->agent()->process->frozen()) {
      machine->awake_since = world_.now();
      machine->agent()->process->thaw();
    }
  }
}

void Faults::later(Duration wait, std::function<void()> mend) {
  world_.after(wait, [this, mend = std::move(mend)] {
    if (running_) mend();
  });
}

Machine& Faults::any() { return *cluster_.machines[world_.below(cluster_.machines.size())]; }

Machine& Faults::any_or_leader() {
  Machine* primary = cluster_.primary();
  return primary != nullptr && world_.chance(0.6) ? *primary : any();
}

Duration Faults::length() {
  const Duration ttl = cluster_.settings().ttl;
  if (world_.chance(0.3)) return world_.between(10ms, 1s);
  return world_.between(100ms, ttl * 2);
}

// Two members away at once may leave one to lead that lacks something.
void Faults::note_absence(const Machine& gone) {
  for (const auto& other : cluster_.machines) {
    if (other.get() != &gone && !other->agent_awake()) cluster_.checker.data_is_at_risk();
  }
}

// --- processes ---

void Faults::kill_postgres() {
  Machine& machine = any_or_leader();
  if (!machine.up() || !machine.server) return;
  // Nobody is there who would find out what the others hold.
  if (!machine.agent_awake()) cluster_.checker.data_is_at_risk();
  machine.die();
}

void Faults::kill_agent() {
  Machine& machine = any_or_leader();
  if (!machine.agent_runs()) return;
  note_absence(machine);
  world_.note("{}: the agent is killed", machine.name.text());
  machine.kill_agent();
  later(length(), [&machine] { machine.start_agent(); });
}

void Faults::stop_agent() {
  Machine& machine = any_or_leader();
  if (!machine.agent_awake()) return;
  note_absence(machine);
  world_.note("{}: the agent is told to stop", machine.name.text());
  machine.stop_agent();
}

void Faults::freeze_agent() {
  Machine& machine = any_or_leader();
  if (!machine.agent_awake()) return;
  note_absence(machine);
  world_.note("{}: the agent freezes", machine.name.text());
  const auto process = machine.agent()->process;
  process->freeze();
  later(length(), [this, &machine, process] {
    if (!process->alive() || machine.frozen() || !process->frozen()) return;
    world_.note("{}: the agent thaws", machine.name.text());
    machine.awake_since = world_.now();
    process->thaw();
  });
}

// --- machines ---

void Faults::freeze_machine() {
  Machine& machine = any_or_leader();
  machine.freeze();
  later(length(), [&machine] { machine.thaw(); });
}

void Faults::crash_machine() {
  Machine& machine = any_or_leader();
  machine.crash();
  later(500ms + length(), [&machine] { machine.power_on(); });
}

void Faults::slow_disk() {
  Machine& machine = any();
  machine.weather.disk = world_.between(50ms, 4s);
  world_.note("{}: the disk is slow", machine.name.text());
  cluster_.slow_promotions = world_.chance(0.3);
  later(length(), [&machine] { machine.weather.disk = 0ns; });
}

void Faults::stick_disk() {
  Machine& machine = any_or_leader();
  machine.weather.disk_stuck = true;
  world_.note("{}: the disk takes no writes", machine.name.text());
  later(length() * 2, [&machine] { machine.weather.disk_stuck = false; });
}

void Faults::slow_stream() {
  Machine& machine = any();
  machine.weather.stream = world_.between(50ms, 8s);
  world_.note("{}: receives WAL late", machine.name.text());
  later(length() * 2, [&machine] { machine.weather.stream = 0ns; });
}

void Faults::mute_guard() {
  Machine& machine = any_or_leader();
  machine.weather.link_errors = 0.7;
  world_.note("{}: the guard's socket fails", machine.name.text());
  later(length(), [&machine] { machine.weather.link_errors = 0; });
}

// --- network ---

void Faults::cut_from_etcd() {
  const Machine& machine = any_or_leader();
  const std::size_t place = machine.place, etcd = cluster_.network.etcd();
  const std::size_t ways = world_.below(3);
  world_.note("network: {} is cut from etcd ({})", machine.name.text(),
              ways == 0   ? "both ways"
              : ways == 1 ? "requests"
                          : "replies");
  if (ways != 2) cluster_.network.cut(place, etcd);
  if (ways != 1) cluster_.network.cut(etcd, place);
  later(length(), [this, place, etcd, ways] {
    if (ways != 2) cluster_.network.mend(place, etcd);
    if (ways != 1) cluster_.network.mend(etcd, place);
  });
}

void Faults::cut_between() {
  const std::size_t a = any_or_leader().place, b = any().place;
  if (a == b) return;
  const bool one_way = world_.chance(0.3);
  world_.note("network: {} is cut from {}{}", a, b, one_way ? " in one direction" : "");
  cluster_.network.cut(a, b);
  if (!one_way) cluster_.network.cut(b, a);
  later(length(), [this, a, b, one_way] {
    cluster_.network.mend(a, b);
    if (!one_way) cluster_.network.mend(b, a);
  });
}

void Faults::isolate() {
  const std::size_t place = any_or_leader().place;
  world_.note("network: {} is isolated", cluster_.machines[place]->name.text());
  const auto each = [this, place](bool cut) {
    for (std::size_t other = 0; other <= cluster_.network.etcd(); ++other) {
      if (other == place) continue;
      if (cut) {
        cluster_.network.cut(place, other);
        cluster_.network.cut(other, place);
      } else {
        cluster_.network.mend(place, other);
        cluster_.network.mend(other, place);
      }
    }
  };
  each(true);
  later(length(), [each] { each(false); });
}

// --- etcd ---

void Faults::lose_quorum() {
  if (!cluster_.etcd.available()) return;
  world_.note("etcd: loses its quorum");
  cluster_.etcd.lose_quorum();
  later(length(), [this] {
    world_.note("etcd: has a quorum again");
    cluster_.etcd.regain_quorum();
  });
}

void Faults::move_etcd_leader() {
  if (!cluster_.etcd.available()) return;
  world_.note("etcd: another leader");
  cluster_.etcd.lose_quorum();
  cluster_.etcd.break_watches();
  if (world_.chance(0.5)) cluster_.etcd.compact();
  later(world_.between(20ms, 1500ms), [this] { cluster_.etcd.regain_quorum(); });
}

void Faults::trouble_etcd() {
  SimEtcd::Trouble trouble;
  if (world_.chance(0.5)) trouble.slow = world_.between(10ms, 3s);
  if (world_.chance(0.5)) trouble.lose_reply = 0.4;
  if (world_.chance(0.3)) trouble.lose_request = 0.4;
  world_.note("etcd: slow by {:.3f} s, loses {} of the replies and {} of the requests", seconds_of(trouble.slow),
              trouble.lose_reply, trouble.lose_request);
  cluster_.etcd.set_trouble(trouble);
  later(length(), [this] { cluster_.etcd.set_trouble({}); });
}

// --- operators ---

void Faults::switch_over() {
  const auto* leader = cluster_.etcd.find(Cluster::key("leader"));
  if (leader == nullptr) return;
  const Machine& candidate = any();
  const bool named = world_.chance(0.5) && candidate.name.text() != leader->value;
  cluster_.request_failover(leader->value, named ? candidate.name.text() : std::string());
}

void Faults::fail_over() {
  const auto* leader = cluster_.etcd.find(Cluster::key("leader"));
  const Machine& candidate = any();
  if (candidate.tags.nofailover || (leader != nullptr && leader->value == candidate.name.text())) return;
  // An order to promote this very member, whatever it lacks.
  cluster_.checker.data_is_at_risk();
  cluster_.checker.ordered_by_name(candidate.name.text());
  cluster_.request_failover({}, candidate.name.text());
}

void Faults::restart() {
  Machine& machine = any_or_leader();
  if (!machine.agent_awake()) return;
  world_.note("operator: restart of {}", machine.name.text());
  auto* parts = machine.agent();
  parts->process->deliver(
      [parts] { asio::co_spawn(parts->process->loop(), parts->agent.restart(RestartRequest()), asio::detached); });
}

void Faults::reinitialize() {
  Machine& machine = any();
  // The operator looks first: a cluster that is whole stays so while one replica is copied anew.
  if (!machine.agent_awake() || cluster_.primary() == nullptr || machine.writable()) return;
  world_.note("operator: reinitialize {}", machine.name.text());
  auto* parts = machine.agent();
  const bool from_leader = world_.chance(0.5);
  parts->process->deliver([parts, from_leader] {
    asio::co_spawn(parts->process->loop(), parts->agent.reinitialize(true, from_leader), asio::detached);
  });
}

void Faults::change_settings() {
  const auto* config = cluster_.etcd.find(Cluster::key("config"));
  if (config == nullptr) return;
  static constexpr int kTtls[] = {3, 5, 8, 15};
  int ttl = kTtls[world_.below(4)];
  // docs/limits.md: an agent that was restarted knows only the new one of two settings.
  const auto& now = cluster_.settings();
  if (now.failsafe_mode) ttl = std::max(ttl, static_cast<int>(seconds_of(now.ttl)));
  std::string json = config->value;
  const auto at = json.find("\"ttl\":");
  if (at == std::string::npos) return;
  const auto end = json.find(',', at);
  json.replace(at, end - at, fmt::format("\"ttl\":{}", ttl));
  world_.note("operator: ttl {}", ttl);
  dcs::Txn txn;
  txn.success.emplace_back(dcs::Put{Cluster::key("config"), json, LeaseId()});
  (void)cluster_.etcd.apply(txn);
}

void Faults::change_sync() {
  const auto* config = cluster_.etcd.find(Cluster::key("config"));
  if (config == nullptr) return;
  std::string json = config->value;
  const auto replace = [&json](const std::string& name, const std::string& value) {
    const auto at = json.find("\"" + name + "\":");
    if (at == std::string::npos) return;
    const auto from = at + name.size() + 3;
    json.replace(from, json.find(',', from) - from, value);
  };
  static constexpr const char* kModes[] = {"\"off\"", "\"on\"", "\"on\"", "\"quorum\"", "\"quorum\""};
  const std::string mode = kModes[world_.below(5)];
  replace("synchronous_mode", mode);
  replace("synchronous_node_count", std::to_string(1 + world_.below(2)));
  replace("synchronous_mode_strict", world_.chance(0.3) ? "true" : "false");
  world_.note("operator: synchronous_mode {}", mode);
  dcs::Txn txn;
  txn.success.emplace_back(dcs::Put{Cluster::key("config"), json, LeaseId()});
  (void)cluster_.etcd.apply(txn);
  if (mode == "\"off\"") cluster_.checker.promises_end();
}

}  // namespace pgvigil::sim
