#include "poolers.h"

#include "cluster.h"
#include "dcs/member_json.h"

namespace pgvigil::sim {
namespace {

constexpr Duration kLease = 10s;  // of a pooler

}  // namespace

Poolers::Poolers(Cluster& cluster) : cluster_(cluster) {}

void Poolers::start(std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    auto pooler = std::make_unique<One>();
    pooler->record.name = fmt::format("pooler{}", i);
    draw_temper(*pooler);
    write(*pooler);
    poolers_.push_back(std::move(pooler));
  }
}

void Poolers::draw_temper(One& pooler) {
  static constexpr Temper kTempers[] = {Temper::Prompt, Temper::Prompt, Temper::Slow, Temper::Mute, Temper::Leaves};
  pooler.temper = troubled_ ? kTempers[cluster_.world.below(5)] : Temper::Prompt;
}

void Poolers::be_prompt() {
  troubled_ = false;
  for (const auto& pooler : poolers_) {
    pooler->temper = Temper::Prompt;
    if (!pooler->registered) write(*pooler);
  }
  // Whoever was silent until now answers too.
  if (const auto* kv = cluster_.etcd.find(Cluster::key("drain"))) drain_key_changes(kv->value);
}

void Poolers::write(One& pooler) {
  if (!cluster_.etcd.available()) return;
  pooler.registered = true;
  dcs::Txn txn;
  txn.success.emplace_back(
      dcs::Put{Cluster::key("poolers/" + pooler.record.name), dcs::pooler_to_json(pooler.record), LeaseId()});
  (void)cluster_.etcd.apply(txn);
}

void Poolers::leave(One& pooler) {
  if (!pooler.registered || !cluster_.etcd.available()) return;
  pooler.registered = false;
  dcs::Txn txn;
  txn.success.emplace_back(dcs::Delete{Cluster::key("poolers/" + pooler.record.name), {}});
  (void)cluster_.etcd.apply(txn);
  cluster_.world.after(cluster_.world.between(1s, 20s), [this, &pooler] {
    if (!pooler.registered) write(pooler);
  });
}

void Poolers::drain_key_changes(const std::string& value) {
  const auto request = dcs::parse_drain(value);
  auto& world = cluster_.world;
  for (const auto& each : poolers_) {
    One& pooler = *each;
    if (!request) {
      world.after(world.between(1ms, 20ms), [this, &pooler] {
        pooler.record.drain.reset();
        draw_temper(pooler);
        write(pooler);
      });
      continue;
    }
    switch (pooler.temper) {
      case Temper::Prompt:
      case Temper::Slow: {
        const Duration patience = pooler.temper == Temper::Prompt ? Duration(50ms) : Duration(8s);
        world.after(world.between(1ms, 20ms), [this, &pooler, id = request->id] {
          pooler.record.drain = PoolerDrain{id, false, 1 + cluster_.world.below(20), 0};
          write(pooler);
        });
        world.after(world.between(20ms, patience), [this, &pooler, id = request->id] { answer(pooler, id); });
        break;
      }
      case Temper::Mute: break;
      case Temper::Leaves: world.after(world.between(1ms, kLease), [this, &pooler] { leave(pooler); }); break;
    }
  }
}

void Poolers::answer(One& pooler, const std::string& id) {
  if (!pooler.record.drain || pooler.record.drain->id != id) return;
  pooler.record.drain = PoolerDrain{id, true, 0, cluster_.world.below(20)};
  write(pooler);
}

}  // namespace pgvigil::sim
