#include "poolcfg/auth_file.h"

#include <fmt/format.h>

#include <algorithm>

#include "poolcfg/misfit.h"
#include "poolcfg/text_file.h"

namespace pgvigil::poolcfg {
namespace {

constexpr std::size_t kLongestName = 127, kLongestPassword = 65530;
constexpr std::string_view kBlanks = " \t\r\v\f";

// "text" at the beginning of `left`, "" inside is one quote. What it says instead of the text never shows the line: it
// may be half a password.
Parsed<std::string> quoted(std::string_view& left, std::string_view what, std::size_t longest) {
  const std::string form = "a line is \"user\" \"password\"; a comment begins with ;";
  left.remove_prefix(std::min(left.find_first_not_of(kBlanks), left.size()));
  if (left.empty() || left[0] != '"') return misfit(fmt::format("{} does not begin with a double quote", what), form);
  std::string text;
  text.reserve(left.size());
  for (std::size_t at = 1; at < left.size(); ++at) {
    if (left[at] != '"') {
      text += left[at];
    } else if (at + 1 < left.size() && left[at + 1] == '"') {
      text += left[at++];
    } else {
      left.remove_prefix(at + 1);
      if (text.size() > longest) return misfit(fmt::format("{} is longer than {} bytes", what, longest), form);
      return text;
    }
  }
  return misfit(fmt::format("the quotes of {} do not end on its line", what), form);
}

}  // namespace

AuthFile parse_auth_file(std::string_view text, const std::string& name) {
  AuthFile file;
  Where where{name, 0};
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++where.line;
    line.remove_prefix(std::min(line.find_first_not_of(kBlanks), line.size()));
    if (line.empty() || line[0] == ';') continue;
    auto user = quoted(line, "the user", kLongestName);
    auto password = user ? quoted(line, "the password", kLongestPassword) : Parsed<std::string>(std::string());
    if (!user || !password) {
      const Misfit& why = user ? password.error() : user.error();
      file.broken = fmt::format("{}: {}; {}; the rest of the file is skipped", where.text(), why.why, why.valid);
      return file;
    }
    file.passwords.insert_or_assign(std::move(*user), Secret(std::move(*password)));
  }
  return file;
}

Result<AuthFile> load_auth_file(const std::string& path) {
  PGV_TRY(text, read_text_file(path, "the authentication file"));
  return parse_auth_file(text.reveal(), path);
}

}  // namespace pgvigil::poolcfg
