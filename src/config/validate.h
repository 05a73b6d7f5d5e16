// Holds a document against the table of settings.
#pragma once

#include <optional>
#include <string>

#include "config/problem.h"
#include "config/settings_table.h"
#include "config/value.h"

namespace pgvigil::config {

struct Expectation {
  std::string what, valid;  // as in Problem
};

// What is wrong with one value, or nothing. Bounds are not looked at; see out_of_bounds.
std::optional<Expectation> mismatch(const Setting& setting, const Value& value);

// The value as a number (seconds, bytes or plain, by kind), or nothing.
std::optional<std::int64_t> number_of(const Setting& setting, const Value& value);

// The bound that the value violates, or nothing.
std::optional<std::int64_t> violated_bound(const Setting& setting, const Value& value);

// A local document: types, unknown keys, keys that have no effect there, stores that are not spoken, misplaced keys.
// Whether required keys are there is the reader's business (load.cc).
void validate_local(const Value& root, Problems& problems);

// A dynamic configuration, which stands at `shown_prefix` of some document ("bootstrap.dcs.", or nothing).
void validate_dynamic(const Value& root, const std::string& shown_prefix, Problems& problems);

}  // namespace pgvigil::config
