#include "poolcfg/ini.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <vector>

#include "poolcfg/text_file.h"
#include "poolcfg/values.h"

namespace pgvigil::poolcfg {
namespace {

constexpr std::size_t kDeepest = 10;  // PgBouncer's bound on nested %include

bool is_key_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
         c == '-' || c == '*';
}

// The same file under two names, for finding circles. A file that cannot be resolved has only the name.
std::string canonical(const std::string& path) {
  std::error_code failed;
  const auto resolved = std::filesystem::canonical(path, failed);
  return failed ? path : resolved.string();
}

class IniReader {
 public:
  explicit IniReader(const IniHandler& handler) : handler_(handler) {}

  Result<void> read(std::string_view text, const std::string& file) {
    files_.push_back(canonical(file));
    auto result = lines(text, file);
    files_.pop_back();
    return result;
  }

 private:
  Result<void> lines(std::string_view text, const std::string& file) {
    constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
    if (text.substr(0, kByteOrderMark.size()) == kByteOrderMark) text.remove_prefix(kByteOrderMark.size());
    Where where{file, 0};
    while (!text.empty()) {
      const std::size_t end = std::min(text.find('\n'), text.size());
      const std::string_view one = trimmed(text.substr(0, end));
      text.remove_prefix(std::min(end + 1, text.size()));
      ++where.line;
      if (one.empty() || one[0] == ';' || one[0] == '#') continue;
      PGV_TRY_VOID(line(one, where));
    }
    return {};
  }

  Result<void> line(std::string_view text, const Where& where) {
    if (text[0] == '%') return include(text, where);
    if (text[0] == '[') return section(text, where);
    return entry(text, where);
  }

  Result<void> section(std::string_view text, const Where& where) {
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos || close + 1 != text.size()) {
      return refused_key(where, text,
                         {close == std::string_view::npos ? "the section's name has no ]" : "something follows the ]",
                          "write [pgbouncer] alone on the line; comments need a line of their own"});
    }
    in_section_ = true;
    return handler_.section(text.substr(1, close - 1), where);
  }

  Result<void> entry(std::string_view text, const Where& where) {
    std::string_view key, rest;
    if (text[0] == '\'') {
      const std::size_t close = text.find('\'', 1);
      if (close == std::string_view::npos) {
        return refused_key(where, "syntax error", {"a key begins with ' and does not end", "write 'key' = value"});
      }
      key = text.substr(1, close - 1);
      rest = trimmed(text.substr(close + 1));
    } else {
      const auto end = std::find_if_not(text.begin(), text.end(), is_key_character);
      key = text.substr(0, static_cast<std::size_t>(end - text.begin()));
      rest = trimmed(text.substr(key.size()));
    }
    if (key.empty() && text[0] == '"') {
      return refused_key(where, "syntax error",
                         {"a key begins with a double quote",
                          "names with other characters than letters, digits and "
                          "_ . - * need single quotes: 'my db' = ..."});
    }
    // The line itself is not shown: it may be the second half of a connection string, with the password in it.
    if (key.empty() || rest.empty() || rest[0] != '=') {
      const std::string after = key.empty() ? std::string() : fmt::format(" after \"{}\"", shown(key));
      return refused_key(where, "syntax error",
                         {"there is no =" + after,
                          "valid: key = value, [section], %include FILE, or a comment that "
                          "begins with ; or #"});
    }
    if (!in_section_) {
      return refused_key(where, key, {"stands before the first section", "begin with [pgbouncer] or [databases]"});
    }
    return handler_.entry(IniEntry{key, trimmed(rest.substr(1)), where});
  }

  Result<void> include(std::string_view text, const Where& where) {
    constexpr std::string_view kWord = "%include";
    const std::string path(trimmed(text.substr(std::min(kWord.size(), text.size()))));
    const bool word = text.substr(0, kWord.size()) == kWord && text.size() > kWord.size() &&
                      (text[kWord.size()] == ' ' || text[kWord.size()] == '\t');
    if (!word || path.empty()) {
      return refused_key(where, text, {"is not a directive", "valid: %include FILE"});
    }
    if (files_.size() > kDeepest) {
      return refused(where, kWord, path, {"is nested more than 10 deep", "include it from a file further up"});
    }
    if (std::find(files_.begin(), files_.end(), canonical(path)) != files_.end()) {
      return refused(where, kWord, path, {"the file includes itself", "remove one of the %include lines"});
    }
    auto content = read_text_file(path, "the included file");
    if (!content) {
      const Error& error = content.error();
      return refused(
          where, kWord, path,
          {error.what + ": " + error.cause, path[0] == '/' ? error.remedy
                                                           : "the path is relative to the working directory, not to "
                                                             "this file"});
    }
    return read(content->reveal(), path);
  }

  const IniHandler& handler_;
  std::vector<std::string> files_;  // those that are being read, the outermost first
  bool in_section_ = false;
};

}  // namespace

Result<void> read_ini(std::string_view text, const std::string& name, const IniHandler& handler) {
  return IniReader(handler).read(text, name);
}

}  // namespace pgvigil::poolcfg
