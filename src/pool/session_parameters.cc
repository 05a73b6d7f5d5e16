#include "pool/session_parameters.h"

#include <fmt/format.h>
#include <strings.h>

#include <algorithm>
#include <map>
#include <mutex>

#include "pgwire/messages.h"

namespace pgvigil::pool {
namespace {

bool same_text(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

// The table of all sets in use. Sets are few (one for each combination of values in use); entries leave with their set.
struct Interned {
  std::mutex mutex;
  std::map<std::vector<ParameterSet::Value>, std::weak_ptr<const ParameterSet>> sets;
};
Interned& interned() {
  static Interned table;
  return table;
}

}  // namespace

TrackedNames::TrackedNames(const std::vector<std::string>& extra)
    : names_{"DateStyle", "client_encoding", "TimeZone", "standard_conforming_strings", "application_name"} {
  for (const auto& name : extra) {
    if (!name.empty() && !find(name)) names_.push_back(name);
  }
}

std::optional<std::size_t> TrackedNames::find(std::string_view name) const {
  for (std::size_t i = 0; i < names_.size(); ++i) {
    if (same_text(names_[i], name)) return i;
  }
  return std::nullopt;
}

ParameterSetPtr ParameterSet::intern(std::vector<Value> values) {
  Interned& table = interned();
  const std::lock_guard lock(table.mutex);
  std::weak_ptr<const ParameterSet>& known = table.sets[values];
  if (auto present = known.lock()) return present;
  const auto forget = [](const ParameterSet* set) {
    Interned& all = interned();
    {
      const std::lock_guard guard(all.mutex);
      // Another thread may have made the set anew since the last reference went.
      const auto entry = all.sets.find(set->values_);
      if (entry != all.sets.end() && entry->second.expired()) all.sets.erase(entry);
    }
    delete set;
  };
  ParameterSetPtr made(new ParameterSet(std::move(values)), forget);
  known = made;
  return made;
}

ParameterSetPtr ParameterSet::unknown(const TrackedNames& names) {
  return intern(std::vector<Value>(names.all().size()));
}

ParameterSetPtr ParameterSet::with(std::size_t index, std::string_view value) const {
  std::vector<Value> values = values_;
  values.at(index) = std::string(value);
  return intern(std::move(values));
}

std::string restore_commands(const TrackedNames& names, const ParameterSet& client, const ParameterSet& server) {
  std::string sql;
  for (std::size_t i = 0; i < client.size() && i < server.size(); ++i) {
    const auto& wanted = client.at(i);
    const auto& present = server.at(i);
    if (!wanted || !present || same_text(*wanted, *present)) continue;
    const std::string& name = names.all()[i];
    // search_path is reported as a list that is quoted already; one literal around it would be one schema's name.
    const bool verbatim = name == "search_path";
    const std::string value = !verbatim                              ? pgwire::quote_literal(*wanted)
                              : *wanted == "\"\"" || wanted->empty() ? "''"
                                                                     : *wanted;
    sql += fmt::format("SET {}={};", name, value);
  }
  return sql;
}

ParameterSetPtr adopt_spelling(const ParameterSetPtr& client, const ParameterSetPtr& server) {
  std::vector<ParameterSet::Value> values(client->size());
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = server->at(i) ? server->at(i) : client->at(i);
  return ParameterSet::intern(std::move(values));
}

}  // namespace pgvigil::pool
