// What goes wrong in a schedule, and what operators order meanwhile. All of it from the world's chance.
#pragma once

#include <functional>
#include <vector>

#include "cluster.h"

namespace pgvigil::sim {

class Faults {
 public:
  explicit Faults(Cluster& cluster);

  // From now on something happens every now and then, until stop().
  void start();
  // Mends everything and starts what is down. After this nothing goes wrong any more.
  void stop();
  [[nodiscard]] std::size_t count() const { return count_; }

 private:
  void plan_next();
  void strike();
  void later(Duration wait, std::function<void()> mend);
  Machine& any();
  Machine& any_or_leader();
  void note_absence(const Machine& gone);
  Duration length();  // of a fault, in proportion to ttl

  void kill_postgres();
  void kill_agent();
  void stop_agent();
  void freeze_agent();
  void freeze_machine();
  void crash_machine();
  void cut_from_etcd();
  void cut_between();
  void isolate();
  void lose_quorum();
  void move_etcd_leader();
  void trouble_etcd();
  void slow_disk();
  void slow_stream();
  void stick_disk();
  void mute_guard();
  void switch_over();
  void fail_over();
  void restart();
  void reinitialize();
  void change_settings();
  void change_sync();

  Cluster& cluster_;
  World& world_;
  Duration pace_;
  bool running_ = false;
  std::size_t count_ = 0;
  std::vector<std::pair<unsigned, void (Faults::*)()>> kinds_;  // weight, fault
  unsigned weights_ = 0;
};

}  // namespace pgvigil::sim
