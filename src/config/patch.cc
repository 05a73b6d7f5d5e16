#include <nlohmann/json.hpp>

#include "config/dynamic.h"

namespace pgvigil::config {

namespace {

using Json = nlohmann::ordered_json;
constexpr int kDeepest = 100;  // recursion below follows the document

Result<Json> object_of(const std::string& text, const char* which) {
  try {
    int deepest = 0;
    Json json = Json::parse(text, [&deepest](int depth, Json::parse_event_t, Json&) {
      deepest = std::max(deepest, depth);
      return true;
    });
    if (deepest > kDeepest) return fail(Errc::InvalidConfig, which, "", "it is nested deeper than 100 levels");
    if (!json.is_object()) return fail(Errc::InvalidConfig, which, "", "it is not a JSON object");
    return json;
  } catch (const Json::exception& problem) {
    std::string cause = problem.what();
    if (const std::size_t end = cause.find("] "); end != std::string::npos) cause.erase(0, end + 2);
    return fail(Errc::InvalidConfig, which, "", cause);
  }
}

// Texts as Patroni compares them: "100" and 100 are one, true and "True" are one.
std::string text_of(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "True" : "False";
  return value.dump();
}

bool same(const Json& a, const Json& b) {
  if (a.is_structured() || b.is_structured()) return a == b;
  return text_of(a) == text_of(b);
}

Json without_nulls(const Json& value) {
  if (!value.is_object()) return value;
  Json result = Json::object();
  for (const auto& [key, item] : value.items()) {
    if (!item.is_null()) result[key] = without_nulls(item);
  }
  return result;
}

bool merge_into(Json& target, const Json& patch) {
  bool changed = false;
  for (const auto& [key, value] : patch.items()) {
    const auto found = target.find(key);
    if (value.is_null()) {
      if (found != target.end()) {
        target.erase(key);
        changed = true;
      }
    } else if (found != target.end() && found->is_object() && value.is_object()) {
      changed = merge_into(*found, value) || changed;
    } else if (found == target.end() || !same(*found, value)) {
      target[key] = without_nulls(value);
      changed = true;
    }
  }
  return changed;
}

}  // namespace

Result<Patched> merge_patch(const std::string& json, const std::string& patch) {
  PGV_TRY(target, object_of(json, "cannot read the dynamic configuration"));
  PGV_TRY(change, object_of(patch, "cannot read the change to the dynamic configuration"));
  const bool changed = merge_into(target, change);
  return Patched{target.dump(-1, ' ', true, Json::error_handler_t::replace), changed};
}

}  // namespace pgvigil::config
