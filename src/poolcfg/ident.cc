// The ident map: which users of the system or of certificates may be which users of the database.
#include <fmt/format.h>

#include <algorithm>

#include "poolcfg/hba.h"
#include "poolcfg/text_file.h"
#include "poolcfg/words.h"

namespace pgvigil::poolcfg {
namespace {

Parsed<IdentMap::Line> parse_line(std::string_view text) {
  const std::string form = "a line is MAP SYSTEM-USER DATABASE-USER";
  WordReader reader(text);
  Word words[3];
  constexpr std::string_view kWhat[] = {"the map", "the system's user", "the database's user"};
  for (std::size_t i = 0; i < 3; ++i) {
    auto word = reader.word(kWhat[i]);
    if (!word) return misfit(word.error().why, form);
    if (!word->quoted && word->text[0] == '/') {
      return misfit("regular expressions are not supported", "write one line for each user");
    }
    words[i] = std::move(*word);
  }
  if (!reader.at_end()) return misfit("something follows the three names", form);
  IdentMap::Line line;
  line.any_user = words[2].is("all");
  line.map = std::move(words[0].text);
  line.system_user = std::move(words[1].text);
  line.database_user = std::move(words[2].text);
  return line;
}

}  // namespace

bool IdentMap::permits(std::string_view map, std::string_view system_user, std::string_view database_user) const {
  if (map.empty()) return system_user == database_user;
  return std::any_of(lines.begin(), lines.end(), [&](const Line& line) {
    return line.map == map && line.system_user == system_user && (line.any_user || line.database_user == database_user);
  });
}

IdentMap parse_ident(std::string_view text, const std::string& path) {
  IdentMap map;
  Where where{path, 0};
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++where.line;
    if (WordReader(line).at_end()) continue;
    auto parsed = parse_line(line);
    if (parsed) {
      map.lines.push_back(std::move(*parsed));
    } else {
      map.warnings.push_back(
          fmt::format("{}: line skipped: {}; {}", where.text(), parsed.error().why, parsed.error().valid));
    }
  }
  return map;
}

Result<IdentMap> load_ident(const std::string& path) {
  PGV_TRY(text, read_text_file(path, "the ident file"));
  return parse_ident(text.reveal(), path);
}

}  // namespace pgvigil::poolcfg
