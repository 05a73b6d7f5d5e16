// The machine itself and the life of its agent's process.
#include "machine.h"

#include "agent_parts.h"
#include "cluster.h"

namespace pgvigil::sim {

Machine::Machine(Cluster& cluster, std::size_t place_in)
    : place(place_in),
      name(std::string(1, static_cast<char>('a' + place_in))),
      cluster_(cluster),
      world_(cluster.world) {}

Machine::~Machine() { kill_agent(); }

TimePoint Machine::local_now() const { return clock.local(world_.now()); }

void Machine::power_on() {
  if (powered_) return;
  powered_ = true;
  frozen_ = false;
  ++boot_;
  // CLOCK_BOOTTIME begins anew with each boot; clocks run up to 500 ppm fast or slow.
  const int ppm = static_cast<int>(world_.below(1001)) - 500;
  clock = MachineClock(world_.between(1s, 1000s) - world_.now().since_boot(), ppm);
  world_.note("{}: boots, its clock runs {} ppm off", name.text(), ppm);
  after(world_.between(10ms, 2s), [this] { start_agent(); });
}

void Machine::crash() {
  if (!powered_) return;
  world_.note("{}: the machine crashes", name.text());
  kill_agent();
  guard = Guard();
  if (server) kill_server("the machine crashed");
  powered_ = false;
  frozen_ = false;
  inbox_.clear();
}

void Machine::freeze() {
  if (!powered_ || frozen_) return;
  world_.note("{}: the machine freezes", name.text());
  frozen_ = true;
  if (agent_) agent_->process->freeze();
}

void Machine::thaw() {
  if (!frozen_) return;
  world_.note("{}: the machine thaws", name.text());
  frozen_ = false;
  check_guard();
  auto waiting = std::move(inbox_);
  inbox_.clear();
  for (const auto& call : waiting) call();
  awake_since = world_.now();
  if (agent_) agent_->process->thaw();
}

void Machine::after(Duration wait, std::function<void()> call) {
  world_.after(wait, [this, boot = boot_, call = std::move(call)] {
    if (boot != boot_ || !powered_) return;
    if (frozen_) {
      inbox_.push_back(call);
    } else {
      call();
    }
  });
}

Duration Machine::disk_time(Duration low, Duration high) {
  return world_.between(low, high) + (weather.disk > 0ns ? world_.between(0ns, weather.disk) : 0ns);
}

void Machine::start_agent() {
  if (!powered_ || agent_) return;
  if (frozen_) {
    inbox_.push_back([this] { start_agent(); });
    return;
  }
  world_.note("{}: the agent starts", name.text());
  agent_ = std::make_unique<AgentParts>(cluster_, *this);
  awake_since = world_.now();
  const auto start = ++agent_starts_;
  const auto exited = [this, start](int code) {
    world_.note("{}: the agent has ended with {}", name.text(), code);
    after(0ns, [this, start] {
      if (start == agent_starts_) kill_agent();
    });
    after(world_.between(500ms, 6s), [this] { start_agent(); });  // whoever supervises it
  };
  agent_->run(exited);
}

void Machine::kill_agent() {
  if (!agent_) return;
  ++agent_starts_;
  agent_->stop_actions();
  const auto process = agent_->process;
  process->kill([this] { agent_.reset(); });
}

void Machine::stop_agent() {
  if (agent_) {
    AgentParts* parts = agent_.get();
    parts->process->deliver([parts] { parts->agent.request_stop(); });
  }
}

bool Machine::agent_runs() const { return agent_ != nullptr && powered_; }
bool Machine::agent_awake() const { return agent_ != nullptr && up() && !agent_->process->frozen(); }

}  // namespace pgvigil::sim
