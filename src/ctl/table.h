// A table in the output formats of patronictl. Pure.
#pragma once

#include <string>
#include <vector>

namespace pgvigil::ctl {

struct Column {
  std::string name;     // the key in json and yaml
  std::string heading;  // pretty
  bool right = false;   // alignment in pretty
  bool number = false;  // json: not quoted when it is one
};

enum class Paint : unsigned char { None, Bold, Red, Green };

// The text with the terminal's codes around it.
std::string painted(const std::string& text, Paint paint);
// Standard output is a terminal, and NO_COLOR is not set (no-color.org).
bool terminal_has_colours();

struct Table {
  std::string title;  // pretty: in the first rule
  std::vector<Column> columns;
  std::vector<std::vector<std::string>> rows;  // a cell may have several lines
  std::vector<Paint> paints;                   // pretty: one for each row; empty: no colours
};

enum class Format : unsigned char { Pretty, Tsv, Json, Yaml };

std::string render(const Table& table, Format format);

}  // namespace pgvigil::ctl
