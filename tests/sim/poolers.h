// Poolers as the agents know them: keys in etcd, and answers to a leader that asks them to drain. Some answer at once,
// some late, some never, some end half-way. What they route is not simulated.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/pooler.h"

namespace pgvigil::sim {

class Cluster;

class Poolers {
 public:
  explicit Poolers(Cluster& cluster);

  // `count` of them register.
  void start(std::size_t count);
  // From now on each answers at once.
  void be_prompt();
  // What an agent wrote under the key `drain`; empty: it is gone.
  void drain_key_changes(const std::string& value);

 private:
  enum class Temper : std::uint8_t { Prompt, Slow, Mute, Leaves };
  struct One {
    Pooler record;
    Temper temper = Temper::Prompt;
    bool registered = false;
  };
  void write(One& pooler);
  void leave(One& pooler);
  void answer(One& pooler, const std::string& id);
  void draw_temper(One& pooler);

  Cluster& cluster_;
  bool troubled_ = true;
  std::vector<std::unique_ptr<One>> poolers_;
};

}  // namespace pgvigil::sim
