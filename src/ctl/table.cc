#include "ctl/table.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

namespace pgvigil::ctl {
namespace {

std::vector<std::string> lines_of(const std::string& cell) {
  std::vector<std::string> lines;
  std::size_t at = 0;
  for (;;) {
    const auto end = cell.find('\n', at);
    lines.push_back(cell.substr(at, end == std::string::npos ? end : end - at));
    if (end == std::string::npos) return lines;
    at = end + 1;
  }
}

// Columns of a terminal: continuation bytes of UTF-8 take none.
std::size_t width_of(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string padded(const std::string& text, std::size_t width, bool right) {
  const std::size_t have = width_of(text);
  const std::string fill(width > have ? width - have : 0, ' ');
  return right ? fill + text : text + fill;
}

std::string pretty(const Table& table) {
  std::vector<std::size_t> widths;
  for (const auto& column : table.columns) widths.push_back(width_of(column.heading));
  bool tall = false;
  for (const auto& row : table.rows) {
    for (std::size_t c = 0; c < row.size(); ++c) {
      const auto lines = lines_of(row[c]);
      tall = tall || lines.size() > 1;
      for (const auto& line : lines) widths[c] = std::max(widths[c], width_of(line));
    }
  }
  std::string rule = "+";
  for (const auto width : widths) rule += std::string(width + 2, '-') + "+";
  std::string first = rule;
  if (!table.title.empty()) {
    const std::string title = "+ " + table.title + " ";
    first = title.size() < rule.size() ? title + rule.substr(title.size()) : title + "+";
  }
  const auto line = [&](const std::vector<std::string>& cells, Paint paint) {
    std::string text = "|";
    for (std::size_t c = 0; c < cells.size(); ++c)
      text += " " + painted(padded(cells[c], widths[c], table.columns[c].right), paint) + " |";
    return text + "\n";
  };
  std::vector<std::string> headings;
  for (const auto& column : table.columns) headings.push_back(column.heading);
  std::string out = first + "\n" + line(headings, Paint::None) + rule + "\n";
  for (std::size_t r = 0; r < table.rows.size(); ++r) {
    std::size_t height = 1;
    std::vector<std::vector<std::string>> cells;
    for (const auto& cell : table.rows[r]) {
      cells.push_back(lines_of(cell));
      height = std::max(height, cells.back().size());
    }
    for (std::size_t i = 0; i < height; ++i) {
      std::vector<std::string> one;
      for (const auto& cell : cells) one.push_back(i < cell.size() ? cell[i] : "");
      out += line(one, r < table.paints.size() ? table.paints[r] : Paint::None);
    }
    if (tall && r + 1 < table.rows.size()) out += rule + "\n";
  }
  return out + rule + "\n";
}

nlohmann::ordered_json json_rows(const Table& table) {
  auto rows = nlohmann::ordered_json::array();
  for (const auto& row : table.rows) {
    auto object = nlohmann::ordered_json::object();
    for (std::size_t c = 0; c < row.size(); ++c) {
      if (row[c].empty()) continue;
      const auto& column = table.columns[c];
      if (column.number && row[c].find_first_not_of("0123456789") == std::string::npos) {
        object[column.name] = std::stoull(row[c]);
      } else if (column.name == "Tags") {
        object[column.name] = nlohmann::ordered_json::parse(row[c], nullptr, false);
      } else {
        object[column.name] = row[c];
      }
    }
    rows.push_back(std::move(object));
  }
  return rows;
}

// Python's json.dumps: a blank after ':' and ','.
std::string spaced(const nlohmann::ordered_json& json) {
  if (json.is_object()) {
    std::string text = "{";
    for (const auto& [key, value] : json.items()) {
      text += (text.size() > 1 ? ", " : "") + nlohmann::json(key).dump() + ": " + spaced(value);
    }
    return text + "}";
  }
  if (json.is_array()) {
    std::string text = "[";
    for (const auto& value : json) text += (text.size() > 1 ? ", " : "") + spaced(value);
    return text + "]";
  }
  return json.dump();
}

std::string yaml_scalar(const nlohmann::ordered_json& value) {
  if (!value.is_string()) return value.dump();
  const auto& text = value.get_ref<const std::string&>();
  const bool plain = !text.empty() && text.find_first_of(":#{}[],&*!|>'\"%@`\n") == std::string::npos &&
                     text.find_first_not_of("0123456789.-+") != std::string::npos && text.front() != ' ' &&
                     text != "true" && text != "false" && text != "null" && text != "yes" && text != "no" &&
                     text != "on" && text != "off";
  if (plain) return text;
  if (text.find('\n') != std::string::npos) return value.dump();
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("''") : std::string(1, c);
  return quoted + "'";
}

std::string yaml(const Table& table) {
  std::string out;
  for (const auto& row : json_rows(table)) {
    const nlohmann::json sorted = nlohmann::json::parse(row.dump());
    std::string indent = "- ";
    for (const auto& [key, value] : sorted.items()) {
      if (value.is_object()) {
        out += indent + key + ":\n";
        for (const auto& [inner, leaf] : value.items()) out += "    " + inner + ": " + yaml_scalar(leaf) + "\n";
      } else {
        out += indent + key + ": " + yaml_scalar(value) + "\n";
      }
      indent = "  ";
    }
  }
  return out + "\n";
}

std::string tsv(const Table& table) {
  std::string out;
  for (std::size_t c = 0; c < table.columns.size(); ++c) out += (c > 0 ? "\t" : "") + table.columns[c].name;
  out += "\n";
  for (const auto& row : table.rows) {
    for (std::size_t c = 0; c < row.size(); ++c) out += (c > 0 ? "\t" : "") + row[c];
    out += "\n";
  }
  return out;
}

}  // namespace

std::string painted(const std::string& text, Paint paint) {
  switch (paint) {
    case Paint::None: break;
    case Paint::Bold: return "\033[1m" + text + "\033[0m";
    case Paint::Red: return "\033[31m" + text + "\033[0m";
    case Paint::Green: return "\033[32m" + text + "\033[0m";
  }
  return text;
}

bool terminal_has_colours() {
  const char* refused = std::getenv("NO_COLOR");
  return isatty(STDOUT_FILENO) != 0 && (refused == nullptr || *refused == '\0');
}

std::string render(const Table& table, Format format) {
  switch (format) {
    case Format::Pretty: return pretty(table);
    case Format::Tsv: return tsv(table);
    case Format::Json: return spaced(json_rows(table)) + "\n";
    case Format::Yaml: return yaml(table);
  }
  return {};
}

}  // namespace pgvigil::ctl
