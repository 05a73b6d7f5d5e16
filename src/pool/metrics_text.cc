#include "pool/metrics_text.h"

#include <fmt/format.h>

#include <cmath>

namespace pgvigil::pool {
namespace {

// How many bytes the UTF-8 sequence at the begin of the text has; 0: it is none (RFC 3629, section 4).
std::size_t sequence_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const auto tail = [&](std::size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return tail(1) ? 2 : 0;
  if ((first & 0xF0U) == 0xE0U) {
    const bool bad = (first == 0xE0 && byte(1) < 0xA0) || (first == 0xED && byte(1) > 0x9F);
    return tail(1) && tail(2) && !bad ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const bool bad = (first == 0xF0 && byte(1) < 0x90) || (first == 0xF4 && byte(1) > 0x8F);
    return tail(1) && tail(2) && tail(3) && !bad ? 4 : 0;
  }
  return 0;
}

}  // namespace

std::string label_value(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t n = sequence_length(text);
    if (n == 0) {
      out += '?';
    } else if (text.front() == '\\' || text.front() == '"') {
      out += '\\';
      out += text.front();
    } else if (text.front() == '\n') {
      out += "\\n";
    } else {
      out += text.substr(0, n);
    }
    text.remove_prefix(n == 0 ? 1 : n);
  }
  return out;
}

MetricsText& MetricsText::family(std::string_view name, std::string_view type, std::string_view help) {
  name_ = name;
  out_ += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
  return *this;
}

MetricsText& MetricsText::sample(double value, const Labels& labels) {
  out_ += name_;
  if (!labels.empty()) {
    char separator = '{';
    for (const auto& [name, text] : labels) {
      out_ += fmt::format("{}{}=\"{}\"", separator, name, label_value(text));
      separator = ',';
    }
    out_ += '}';
  }
  // Counts as whole numbers: 1e+06 is valid, and hard to read.
  if (value == std::floor(value) && std::fabs(value) < 1e15) {
    out_ += fmt::format(" {}\n", static_cast<std::int64_t>(value));
  } else {
    out_ += fmt::format(" {}\n", value);
  }
  return *this;
}

}  // namespace pgvigil::pool
