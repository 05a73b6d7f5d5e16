// The grammar of the ini file: sections, `key = value`, comments, %include. What sections and keys mean is elsewhere.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "poolcfg/misfit.h"

namespace pgvigil::poolcfg {

struct IniEntry {
  std::string_view key, value;  // the value: the rest of the line without the blanks around it
  Where where;
};

struct IniHandler {
  std::function<Result<void>(std::string_view name, const Where&)> section;
  std::function<Result<void>(const IniEntry&)> entry;  // of the section that began last, also in another file
};

// Stops at the first error. `name` is what errors call the text; a file that is its own %include is found by it.
Result<void> read_ini(std::string_view text, const std::string& name, const IniHandler& handler);

}  // namespace pgvigil::poolcfg
