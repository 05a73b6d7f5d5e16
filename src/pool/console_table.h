// Result sets of the console: columns that are known before the command runs, and rows of text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pgwire/messages.h"

namespace pgvigil::pool {

using Columns = std::vector<pgwire::Column>;
using Cell = std::optional<std::string>;
using Rows = std::vector<std::vector<Cell>>;

// Result formats as a Bind message asks for them: none (all text), one for all columns, or one for each.
class Formats {
 public:
  Formats() = default;
  explicit Formats(std::vector<std::int16_t> codes) : codes_(std::move(codes)) {}
  [[nodiscard]] bool fit(std::size_t columns) const { return codes_.size() <= 1 || codes_.size() == columns; }
  [[nodiscard]] std::int16_t of(std::size_t column) const {
    if (codes_.empty()) return 0;
    return codes_.size() == 1 ? codes_.front() : codes_[column];
  }

 private:
  std::vector<std::int16_t> codes_;
};

void put_row_description(std::string& out, const Columns& columns, const Formats& formats);
void put_row(std::string& out, const Columns& columns, const std::vector<Cell>& row, const Formats& formats);

}  // namespace pgvigil::pool
