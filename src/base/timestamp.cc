#include "base/timestamp.h"

#include <fmt/format.h>

namespace pgvigil {
namespace {

class Cursor {
 public:
  explicit Cursor(std::string_view text) : rest_(text) {}

  [[nodiscard]] bool at_end() const { return rest_.empty(); }
  [[nodiscard]] char peek() const { return rest_.empty() ? '\0' : rest_.front(); }
  bool take(char c) {
    if (peek() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool take(std::string_view word) {
    if (rest_.substr(0, word.size()) != word) return false;
    rest_.remove_prefix(word.size());
    return true;
  }
  // Exactly `digits` digits.
  std::optional<int> number(int digits) {
    int value = 0;
    for (int i = 0; i < digits; ++i) {
      if (peek() < '0' || peek() > '9') return std::nullopt;
      value = value * 10 + (peek() - '0');
      rest_.remove_prefix(1);
    }
    return value;
  }

 private:
  std::string_view rest_;
};

struct DayTime {
  int hour = 0, minute = 0, second = 0, micros = 0;
};

std::optional<std::chrono::sys_days> read_date(Cursor& in) {
  const auto year = in.number(4);
  if (!year || *year < 1) return std::nullopt;
  const bool dashed = in.take('-');
  const auto month = in.number(2);
  if (!month || (dashed && !in.take('-'))) return std::nullopt;
  const auto day = in.number(2);
  if (!day) return std::nullopt;
  const std::chrono::year_month_day date(std::chrono::year(*year), std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day)));
  if (!date.ok()) return std::nullopt;
  return std::chrono::sys_days(date);
}

std::optional<int> read_fraction(Cursor& in) {
  int micros = 0;
  int digits = 0;
  while (in.peek() >= '0' && in.peek() <= '9') {
    const int digit = *in.number(1);
    if (digits < 6) micros = micros * 10 + digit;
    if (++digits > 12) return std::nullopt;
  }
  if (digits == 0) return std::nullopt;
  for (; digits < 6; ++digits) micros *= 10;
  return micros;
}

std::optional<DayTime> read_time(Cursor& in) {
  DayTime time;
  const auto hour = in.number(2);
  if (!hour) return std::nullopt;
  const bool colons = in.take(':');
  const auto minute = in.number(2);
  if (!minute) return std::nullopt;
  time.hour = *hour;
  time.minute = *minute;
  const bool seconds = colons ? in.take(':') : (in.peek() >= '0' && in.peek() <= '9');
  if (seconds) {
    const auto second = in.number(2);
    if (!second) return std::nullopt;
    time.second = *second;
    if (in.take('.') || in.take(',')) {
      const auto micros = read_fraction(in);
      if (!micros) return std::nullopt;
      time.micros = *micros;
    }
  }
  if (time.hour > 23 || time.minute > 59 || time.second > 59) return std::nullopt;
  return time;
}

std::optional<std::chrono::minutes> read_offset(Cursor& in) {
  if (in.take('Z') || in.take('z') || in.take("UTC") || in.take("GMT")) {
    if (in.at_end()) return std::chrono::minutes(0);
  }
  const bool minus = in.peek() == '-';
  if (!in.take('-') && !in.take('+')) return std::nullopt;
  const auto hours = in.number(2);
  if (!hours || *hours > 23) return std::nullopt;
  int minutes = 0;
  if (!in.at_end()) {
    in.take(':');
    const auto read = in.number(2);
    if (!read || *read > 59) return std::nullopt;
    minutes = *read;
  }
  const std::chrono::minutes length(*hours * 60 + minutes);
  return minus ? -length : length;
}

}  // namespace

std::optional<Timestamp> parse_timestamp(std::string_view text) {
  Cursor in(text);
  const auto date = read_date(in);
  if (!date) return std::nullopt;
  Timestamp result{WallTime(*date), std::nullopt};
  if (in.at_end()) return result;
  if (!in.take('T') && !in.take('t') && !in.take(' ')) return std::nullopt;
  const auto time = read_time(in);
  if (!time) return std::nullopt;
  result.at += std::chrono::hours(time->hour) + std::chrono::minutes(time->minute) +
               std::chrono::seconds(time->second) + std::chrono::microseconds(time->micros);
  if (in.at_end()) return result;
  in.take(' ');
  const auto offset = read_offset(in);
  if (!offset || !in.at_end()) return std::nullopt;
  result.offset = *offset;
  result.at -= *offset;
  return result;
}

std::optional<WallTime> parse_instant(std::string_view text) {
  const auto timestamp = parse_timestamp(text);
  return timestamp && timestamp->offset ? std::optional<WallTime>(timestamp->at) : std::nullopt;
}

std::string iso_text(WallTime at, std::chrono::minutes offset) {
  const WallTime local = at + offset;
  const auto day = std::chrono::floor<std::chrono::days>(local);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss<std::chrono::microseconds> time(local - day);
  std::string text = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", static_cast<int>(date.year()),
                                 static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                                 time.hours().count(), time.minutes().count(), time.seconds().count());
  if (time.subseconds().count() != 0) text += fmt::format(".{:06}", time.subseconds().count());
  const auto length = offset.count() < 0 ? -offset.count() : offset.count();
  text += fmt::format("{}{:02}:{:02}", offset.count() < 0 ? '-' : '+', length / 60, length % 60);
  return text;
}

}  // namespace pgvigil
