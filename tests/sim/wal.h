// The write-ahead log of one server as positions on a branching timeline. Every record has a number of its own, so two
// logs are the same exactly as far as their records are: what streaming, rewinding and promoting must not break can be
// checked on the contents, not on positions that happen to agree.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "model/lsn.h"
#include "postgres/port.h"

namespace pgvigil::sim {

inline constexpr Lsn kWalStart{0x1000028};

inline constexpr std::uint64_t kCheckpointBytes = 120;  // of a checkpoint's record

struct WalRecord {
  Lsn end;
  Timeline timeline;
  std::uint64_t number = 0;
};

struct Wal {
  std::vector<WalRecord> records;
  std::vector<postgres::TimelineSwitch> history;  // how each timeline before `timeline` was left
  Timeline timeline{1};
  Timeline newest{1};  // the highest timeline that this server has a history file of

  [[nodiscard]] Lsn end() const { return records.empty() ? kWalStart : records.back().end; }
  Lsn append(std::uint64_t number, std::uint64_t bytes) {  // returns where the record starts
    const Lsn start = end();
    records.push_back({Lsn(start.value() + bytes), timeline, number});
    return start;
  }
  void begin_timeline() {
    const Timeline next(std::max(newest, timeline).value() + 1);
    history.push_back({timeline, end(), "no recovery target specified"});
    timeline = newest = next;
  }
  // Each timeline with its end, the current one included.
  [[nodiscard]] std::vector<postgres::TimelineSwitch> stretches() const {
    auto all = history;
    all.push_back({timeline, end(), {}});
    return all;
  }
  // pg_rewind: back to where the histories part. It compares histories, never contents.
  void cut_back_to(const Wal& source) {
    const auto mine = stretches();
    const auto theirs = source.stretches();
    Lsn parting = kWalStart;
    for (std::size_t i = 0; i < mine.size() && i < theirs.size() && mine[i].timeline == theirs[i].timeline; ++i) {
      parting = std::min(mine[i].switch_point, theirs[i].switch_point);
      if (mine[i].switch_point != theirs[i].switch_point) break;
    }
    while (!records.empty() && records.back().end > parting) records.pop_back();
    timeline = records.empty() ? Timeline(1) : records.back().timeline;
    history = source.history;
    newest = source.newest;
  }
  // The switch point of an earlier timeline of ours; unknown: not one of ours.
  [[nodiscard]] Lsn left_at(Timeline old) const {
    for (const auto& line : history) {
      if (line.timeline == old) return line.switch_point;
    }
    return {};
  }
};

// How many records two logs have in common, from the beginning on.
inline std::size_t common_records(const Wal& a, const Wal& b) {
  std::size_t low = 0, high = std::min(a.records.size(), b.records.size());
  while (low < high) {  // once they differ they differ for good
    const std::size_t middle = (low + high + 1) / 2;
    if (a.records[middle - 1].number == b.records[middle - 1].number) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

}  // namespace pgvigil::sim
