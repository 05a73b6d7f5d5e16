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

struct Table {
  std::string title;  // pretty: in the first rule
  std::vector<Column> columns;
  std::vector<std::vector<std::string>> rows;  // a cell may have several lines
};

enum class Format : unsigned char { Pretty, Tsv, Json, Yaml };

std::string render(const Table& table, Format format);

}  // namespace pgvigil::ctl
