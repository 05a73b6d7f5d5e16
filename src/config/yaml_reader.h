// YAML text, files and directories as Value trees. What a YAML parser swallows silently (a key given twice, tabs) is
// reported here.
#pragma once

#include <string>

#include "base/error.h"
#include "config/problem.h"
#include "config/value.h"

namespace pgvigil::config {

struct Document {
  Value root;         // a map, also when the text is empty
  Problems problems;  // errors: `root` is not to be used
};

// `name` is what problems call the source. Never fails otherwise; nesting and size are bounded.
Document read_yaml_text(const std::string& text, const std::string& name);

// A file, or a directory whose *.yml and *.yaml are merged in the order of their names. Error NotFound: no such file.
Result<Document> read_yaml(const std::string& file_or_directory);

// Small files only (1 MiB): configuration and passwords.
Result<std::string> read_small_file(const std::string& path);

}  // namespace pgvigil::config
