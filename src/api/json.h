// JSON as the REST interface spells it: ", " and ": " between the parts, non-ASCII as \uXXXX.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace pgvigil::api {

using Json = nlohmann::ordered_json;

// Foreign text: refused when it is not JSON, not UTF-8, or nested more than kJsonDepthMax levels deep. The bound keeps
// every recursive walk over the result within the stack.
inline constexpr int kJsonDepthMax = 100;
std::optional<Json> parse_json(std::string_view text);
std::optional<Json> parse_json_object(std::string_view text);

// For replies. Bytes that are not UTF-8 become U+FFFD, so that every reply is valid JSON.
std::string dump_spaced(const Json& value);
// For keys in etcd: no spaces at all.
std::string dump_compact(const Json& value);

// How the interface compares values of different types: 100 and "100" are equal, true is "True".
std::string text_of(const Json& value);

// Truth of a foreign value: null, false, 0, "" and empty containers are false.
bool truthy(const Json& value);
// A boolean as configurations spell it: on/true/yes/1 in any case. Anything else is false.
bool parse_switch(const Json& value);

}  // namespace pgvigil::api
