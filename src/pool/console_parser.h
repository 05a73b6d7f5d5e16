// The console's grammar: one command of up to two words, or SET key = value, and perhaps a semicolon.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pgvigil::pool {

struct ConsoleCommand {
  enum class Kind : std::uint8_t {
    Command,       // `name`, perhaps `argument`
    Set,           // `argument` and `value`
    Invalid,       // not of this grammar
    BadArguments,  // of this grammar, with a word that is too long
  } kind = Kind::Invalid;
  std::string name;  // lower case
  std::optional<std::string> argument;
  std::string value;
};

ConsoleCommand parse_console_command(std::string_view text);

}  // namespace pgvigil::pool
