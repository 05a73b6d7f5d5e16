// A configuration document as a tree that remembers where each part was written. Both YAML files and JSON texts become
// this, so that one table and one set of rules serve both.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "config/problem.h"

namespace pgvigil::config {

struct Value {
  enum class Type : std::uint8_t { Null, Scalar, List, Map };
  struct Entry;

  Type type = Type::Null;
  std::string text;     // of a scalar
  bool string = false;  // the scalar is text whatever it looks like: quoted in YAML, a string in JSON
  SourceLocation where;
  std::vector<Value> items;
  std::vector<Entry> entries;  // in the order of the document; keys are unique

  static Value scalar(std::string text, SourceLocation where = {}, bool string = true);
  static Value map(SourceLocation where = {});
  static Value list(std::vector<Value> items, SourceLocation where = {});

  [[nodiscard]] bool is_null() const { return type == Type::Null; }
  [[nodiscard]] bool is_scalar() const { return type == Type::Scalar; }
  [[nodiscard]] bool is_list() const { return type == Type::List; }
  [[nodiscard]] bool is_map() const { return type == Type::Map; }

  // Null when this is no map or the key is not there.
  [[nodiscard]] const Value* find(std::string_view key) const;
  [[nodiscard]] Value* find(std::string_view key);
  // Follows "a.b.c".
  [[nodiscard]] const Value* at(std::string_view path) const;
  // Turns this into a map if it is none; replaces or appends.
  Value& set(std::string key, Value value);
  // Like set, along "a.b.c"; maps on the way are made.
  Value& set_at(std::string_view path, Value value);
  bool remove(std::string_view key);
};

struct Value::Entry {
  std::string key;
  SourceLocation where;
  Value value;
};

// Maps are merged key by key, everything else of `over` replaces.
void merge_over(Value& base, Value over);

// What a plain (unquoted) scalar means, by the rules of YAML 1.1, which Patroni's reader follows: yes/no/on/off/true/
// false, decimal, 0-octal, 0x-hexadecimal and 0b-binary integers, floats. Base 60 ("10:30") is text here.
enum class ScalarType : std::uint8_t { Null, Boolean, Integer, Float, Text };
ScalarType scalar_type(const Value& value);

// Compact JSON with its key order, non-ASCII escaped. Bytes that are not UTF-8 are replaced.
std::string to_json(const Value& value);

// Error InvalidConfig with the position; nesting is limited to 100 levels.
Result<Value> parse_json(const std::string& text);

}  // namespace pgvigil::config
