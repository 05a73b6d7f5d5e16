#include "pool/console_table.h"

#include <cstdlib>

#include "base/error.h"
#include "pgwire/frame.h"

namespace pgvigil::pool {
namespace {

constexpr std::int16_t kBinary = 1;

std::string big_endian(std::uint64_t value, int bytes) {
  std::string out;
  for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift & 0xFF);
  return out;
}

// A whole number that is not negative, as numeric_send() of PostgreSQL writes it: digits of base 10000.
std::string binary_numeric(std::uint64_t value) {
  std::string digits;
  std::uint64_t count = 0, stripped = 0;
  for (std::uint64_t rest = value; rest > 0; rest /= 10000) {
    if (count == stripped && rest % 10000 == 0) {
      ++stripped;  // trailing zero digits are not sent; the weight says that they are there
    } else {
      digits.insert(0, big_endian(rest % 10000, 2));
    }
    ++count;
  }
  return big_endian(count - stripped, 2) + big_endian(count == 0 ? 0 : count - 1, 2) + big_endian(0, 4) + digits;
}

// The numeric columns of the console hold whole numbers.
std::string binary(const std::string& text, pgwire::ColumnType type) {
  if (type.oid == pgwire::kText.oid || type.oid == pgwire::kBytea.oid) return text;
  const std::int64_t value = std::strtoll(text.c_str(), nullptr, 10);
  if (type.oid == pgwire::kInt4.oid) return big_endian(static_cast<std::uint64_t>(value), 4);
  if (type.oid == pgwire::kInt8.oid) return big_endian(static_cast<std::uint64_t>(value), 8);
  return binary_numeric(std::strtoull(text.c_str(), nullptr, 10));
}

}  // namespace

void put_row_description(std::string& out, const Columns& columns, const Formats& formats) {
  pgwire::MessageWriter message(out, 'T');
  message.int16(static_cast<std::uint16_t>(columns.size()));
  for (std::size_t i = 0; i < columns.size(); ++i) {
    message.cstring(columns[i].name);
    message.int32(0).int16(0);  // of no table
    message.int32(columns[i].type.oid).int16(static_cast<std::uint16_t>(columns[i].type.size));
    message.int32(0xFFFFFFFF).int16(static_cast<std::uint16_t>(formats.of(i)));
  }
}

void put_row(std::string& out, const Columns& columns, const std::vector<Cell>& row, const Formats& formats) {
  PGV_ASSERT(row.size() == columns.size());
  pgwire::MessageWriter message(out, 'D');
  message.int16(static_cast<std::uint16_t>(row.size()));
  for (std::size_t i = 0; i < row.size(); ++i) {
    if (!row[i]) {
      message.int32(0xFFFFFFFF);
    } else if (formats.of(i) == kBinary) {
      const std::string bytes = binary(*row[i], columns[i].type);
      message.int32(static_cast<std::uint32_t>(bytes.size())).bytes(bytes);
    } else {
      message.int32(static_cast<std::uint32_t>(row[i]->size())).bytes(*row[i]);
    }
  }
}

}  // namespace pgvigil::pool
