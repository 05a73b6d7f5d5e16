#include "poolcfg/hba.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "poolcfg/address.h"
#include "poolcfg/text_file.h"
#include "poolcfg/values.h"
#include "poolcfg/words.h"

namespace pgvigil::poolcfg {
namespace {

constexpr int kDeepest = 10;  // @file inside @file

constexpr std::pair<std::string_view, HbaRule::Type> kTypes[] = {{"local", HbaRule::Type::Local},
                                                                 {"host", HbaRule::Type::Host},
                                                                 {"hostssl", HbaRule::Type::HostSsl},
                                                                 {"hostnossl", HbaRule::Type::HostNoSsl}};
constexpr std::pair<std::string_view, AuthType> kMethods[] = {{"trust", AuthType::Trust},
                                                              {"reject", AuthType::Reject},
                                                              {"md5", AuthType::Md5},
                                                              {"password", AuthType::Plain},
                                                              {"peer", AuthType::Peer},
                                                              {"cert", AuthType::Cert},
                                                              {"scram-sha-256", AuthType::ScramSha256},
                                                              {"ldap", AuthType::Ldap}};

template <class E, std::size_t size>
Parsed<E> keyword(const std::pair<std::string_view, E> (&table)[size], const Word& word, std::string_view what) {
  std::vector<std::string_view> names;
  for (const auto& [name, value] : table) {
    if (word.is(name)) return value;
    names.push_back(name);
  }
  return misfit(fmt::format("\"{}\" is not a known {}", shown(word.text), what), did_you_mean(word.text, names));
}

enum class NamesOf : std::uint8_t { Databases, Users };

class HbaLine {
 public:
  HbaLine(std::string_view line, std::string directory) : reader_(line), directory_(std::move(directory)) {}

  Parsed<HbaRule> parse() {
    HbaRule rule;
    const auto result = fill(rule);
    if (result) return tl::unexpected<Misfit>(*result);
    return rule;
  }

 private:
  std::optional<Misfit> fill(HbaRule& rule) {
    const auto type_word = reader_.word("the type");
    if (!type_word) return type_word.error();
    const auto type = keyword(kTypes, *type_word, "type");
    if (!type) return type.error();
    rule.type = *type;
    if (auto problem = names("the database", NamesOf::Databases, rule.databases)) return problem;
    if (auto problem = names("the user", NamesOf::Users, rule.users)) return problem;
    if (rule.type != HbaRule::Type::Local) {
      if (auto problem = address(rule)) return problem;
    }
    const auto method_word = reader_.word("the method");
    if (!method_word) return Misfit{method_word.error().why, "a line is TYPE DATABASE USER [ADDRESS] METHOD"};
    const auto method = keyword(kMethods, *method_word, "method");
    if (!method) return method.error();
    rule.method = *method;
    return options(rule);
  }

  std::optional<Misfit> names(std::string_view what, NamesOf of, HbaRule::Names& names) {
    const auto list = reader_.list(what);
    if (!list) return Misfit{list.error().why, "a line is TYPE DATABASE USER [ADDRESS] METHOD"};
    for (const Word& word : *list) {
      if (auto problem = name(word, of, names, 0)) return problem;
    }
    return std::nullopt;
  }

  std::optional<Misfit> name(const Word& word, NamesOf of, HbaRule::Names& names, int depth) {
    if (word.is("all")) {
      names.all = true;
    } else if (of == NamesOf::Databases && word.is("sameuser")) {
      names.same_user = true;
    } else if (of == NamesOf::Databases && word.is("replication")) {
      names.replication = true;
    } else if (!word.quoted && word.text[0] == '@') {
      return names_in_file(word.text.substr(1), of, names, depth);
    } else if (!word.quoted && (word.text[0] == '+' || word.text[0] == '/')) {
      return Misfit{fmt::format("\"{}\": groups and regular expressions are not supported", shown(word.text)),
                    "name each one, or a file with the names by @FILE"};
    } else if (!word.quoted && of == NamesOf::Databases && (word.text == "samerole" || word.text == "samegroup")) {
      return Misfit{fmt::format("{} is not supported", word.text), "name each database"};
    } else {
      names.names.push_back(word.text);
    }
    return std::nullopt;
  }

  std::optional<Misfit> names_in_file(const std::string& name_of_file, NamesOf of, HbaRule::Names& names, int depth) {
    if (name_of_file.empty()) return Misfit{"@ without the name of a file", "write @FILE"};
    if (depth >= kDeepest) return Misfit{fmt::format("@{}: more than 10 files deep", shown(name_of_file)), ""};
    const std::string path = name_of_file[0] == '/' ? name_of_file : directory_ + name_of_file;
    const auto text = read_text_file(path, "the file of names");
    if (!text) return Misfit{text.error().message(), ""};
    std::string_view left = text->reveal();
    while (!left.empty()) {
      const std::size_t end = std::min(left.find('\n'), left.size());
      WordReader line(left.substr(0, end));
      left.remove_prefix(std::min(end + 1, left.size()));
      while (!line.at_end()) {
        const auto words = line.list("a name in @" + shown(name_of_file));
        if (!words) return words.error();
        for (const Word& word : *words) {
          if (auto problem = name(word, of, names, depth + 1)) return problem;
        }
      }
    }
    return std::nullopt;
  }

  std::optional<Misfit> address(HbaRule& rule) {
    const std::string valid = "valid: all, ADDRESS/BITS, or ADDRESS MASK; names of hosts are not supported";
    const auto word = reader_.word("the address");
    if (!word) return Misfit{word.error().why, valid};
    if (word->is("all")) {
      rule.any_address = true;
      return std::nullopt;
    }
    const std::size_t slash = word->text.find('/');
    const auto network = parse_address(word->text.substr(0, slash));
    if (!network) return Misfit{fmt::format("\"{}\" is not an address", shown(word->text)), valid};
    rule.address = *network;
    std::optional<PeerAddress> mask;
    std::string written;
    if (slash != std::string::npos) {
      written = word->text.substr(slash + 1);
      const auto bits = parse_integer(written, 10, 0, 128);
      if (bits) mask = mask_of_bits(network->kind, static_cast<int>(*bits));
    } else {
      const auto mask_word = reader_.word("the mask");
      if (!mask_word) return Misfit{mask_word.error().why, valid};
      written = mask_word->text;
      mask = parse_address(written);
      if (mask && mask->kind != network->kind) mask.reset();
      // The first 96 bits of a version 4 mask come from ::ffff:0:0; the family has been compared by then.
    }
    if (!mask) return Misfit{fmt::format("\"{}\" is not a mask of {}", shown(written), shown(word->text)), valid};
    rule.mask = *mask;
    return std::nullopt;
  }

  std::optional<Misfit> options(HbaRule& rule) {
    const std::string text = reader_.rest();
    if (rule.method == AuthType::Ldap) {
      rule.options = text;
      return std::nullopt;
    }
    if (text.empty()) return std::nullopt;
    constexpr std::string_view kMap = "map=";
    const bool may_map = rule.method == AuthType::Cert || rule.method == AuthType::Peer;
    if (!may_map || text.substr(0, kMap.size()) != kMap) {
      return Misfit{fmt::format("\"{}\" follows the method", shown(text)),
                    may_map ? "the only option is map=NAME" : "this method has no options"};
    }
    WordReader value(std::string_view(text).substr(kMap.size()));
    const auto name = value.word("the map");
    if (!name) return name.error();
    if (!value.at_end()) return Misfit{"something follows map=NAME", "the only option is map=NAME"};
    rule.map = name->text;
    return std::nullopt;
  }

  WordReader reader_;
  std::string directory_;
};

bool is_reject(std::string_view line) {
  WordReader reader(line);
  while (!reader.at_end()) {
    const auto word = reader.list("a word");
    if (!word) return line.find("reject") != std::string_view::npos;
    if (word->size() == 1 && word->front().is("reject")) return true;
  }
  return false;
}

bool has(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool matches_connection(const HbaRule& rule, const HbaQuery& query) {
  const bool unix_socket = query.address.kind == PeerAddress::Kind::Unix;
  if (rule.type == HbaRule::Type::Local || unix_socket) return rule.type == HbaRule::Type::Local && unix_socket;
  if (rule.type == HbaRule::Type::HostSsl && !query.tls) return false;
  if (rule.type == HbaRule::Type::HostNoSsl && query.tls) return false;
  return rule.any_address || inside(query.address, rule.address, rule.mask);
}

bool matches_database(const HbaRule::Names& databases, const HbaQuery& query) {
  // Physical replication has no database; `all` does not mean it.
  if (query.replication == HbaQuery::Replication::Physical) return databases.replication;
  return databases.all || (databases.same_user && query.database == query.user) || has(databases.names, query.database);
}

}  // namespace

const HbaRule* HbaFile::match(const HbaQuery& query) const {
  for (const HbaRule& rule : rules) {
    if (matches_connection(rule, query) && matches_database(rule.databases, query) &&
        (rule.users.all || has(rule.users.names, query.user))) {
      return &rule;
    }
  }
  return nullptr;
}

HbaFile parse_hba(std::string_view text, const std::string& path) {
  HbaFile file;
  const std::size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? std::string() : path.substr(0, slash + 1);
  Where where{path, 0};
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++where.line;
    if (WordReader(line).at_end()) continue;
    auto rule = HbaLine(line, directory).parse();
    if (rule) {
      rule->line = where.line;
      file.rules.push_back(std::move(*rule));
      continue;
    }
    const Misfit& why = rule.error();
    const std::string problem = why.why + (why.valid.empty() ? "" : "; " + why.valid);
    file.warnings.push_back(fmt::format("{}: line skipped: {}", where.text(), problem));
    if (file.lost_reject.empty() && is_reject(line)) file.lost_reject = fmt::format("{}: {}", where.text(), problem);
  }
  return file;
}

Result<HbaFile> load_hba(const std::string& path) {
  PGV_TRY(text, read_text_file(path, "the HBA file"));
  HbaFile file = parse_hba(text.reveal(), path);
  if (!file.lost_reject.empty()) {
    return fail(Errc::InvalidConfig,
                "a rule with reject cannot be understood, and those that it keeps out would get in:", file.lost_reject);
  }
  return file;
}

}  // namespace pgvigil::poolcfg
