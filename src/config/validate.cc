#include "config/validate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "config/guc.h"
#include "config/scalars.h"

namespace pgvigil::config {

namespace {

using Severity = Problem::Severity;

constexpr std::string_view kWhereDynamicBelongs =
    "it belongs below bootstrap.dcs before the cluster exists, and is changed with edit-config afterwards";

std::string below(std::string_view section, std::string_view key) {
  return section.empty() ? std::string(key) : fmt::format("{}.{}", section, key);
}

// The row of X for a key X_file.
const Setting* secret_of_file_key(const std::string& path, bool dynamic) {
  constexpr std::string_view kSuffix = "_file";
  if (!path.ends_with(kSuffix)) return nullptr;
  const Setting* row = find_setting(std::string_view(path).substr(0, path.size() - kSuffix.size()), dynamic);
  return row != nullptr && row->kind == Kind::Secret ? row : nullptr;
}

class Walk {
 public:
  Walk(bool dynamic, std::string prefix, Problems& problems)
      : dynamic_(dynamic), prefix_(std::move(prefix)), problems_(problems) {}

  void section(const Value& map, const std::string& path) {
    for (std::size_t i = 0; i < map.entries.size(); ++i) entry(map, i, path);
  }

 private:
  void entry(const Value& map, std::size_t index, const std::string& section_path) {
    const Value::Entry& entry = map.entries[index];
    const std::string path = below(section_path, entry.key);
    const Setting* row = find_setting(path, dynamic_);
    if (row == nullptr) {
      unlisted(entry, section_path, path);
      return;
    }
    if (entry.value.is_null()) {
      if (row->kind == Kind::Section) empty_section(map, index, section_path, path);
      return;
    }
    if (auto expectation = mismatch(*row, entry.value)) {
      report(dynamic_ && !prefix_.empty() ? Severity::Warning : Severity::Error, entry, path, shown(*row, entry.value),
             expectation->what, expectation->valid);
      return;
    }
    bounds(*row, entry, path);
    if (row->kind == Kind::Section && path != "bootstrap.dcs") section(entry.value, path);
    if (row->kind == Kind::Parameters && !dynamic_) local_parameters(entry.value, path);
    if (row->kind == Kind::Parameters) parameter_names(entry.value, path);
    if (path == "bootstrap.dcs") validate_dynamic(entry.value, "bootstrap.dcs.", problems_);
  }

  void bounds(const Setting& row, const Value::Entry& entry, const std::string& path) {
    const auto bound = violated_bound(row, entry.value);
    if (!bound) return;
    const bool lower = *bound == row.min;
    if (dynamic_) {
      report(Severity::Warning, entry, path, entry.value.text,
             fmt::format("{} the {} permitted value", lower ? "below" : "above", lower ? "smallest" : "largest"),
             fmt::format("{} is used", *bound));
    } else {
      report(Severity::Error, entry, path, entry.value.text,
             fmt::format("expected {} {}", lower ? "at least" : "at most", *bound), "");
    }
  }

  // "restapi:" followed by a "listen:" that is not indented.
  void empty_section(const Value& map, std::size_t index, const std::string& section_path, const std::string& path) {
    const std::vector<std::string> inner = known_keys(path, dynamic_);
    const std::vector<std::string> outer = known_keys(section_path, dynamic_);
    if (index + 1 < map.entries.size()) {
      const Value::Entry& next = map.entries[index + 1];
      const bool known_inside = std::find(inner.begin(), inner.end(), next.key) != inner.end();
      const bool known_outside = std::find(outer.begin(), outer.end(), next.key) != outer.end();
      if (known_inside && !known_outside) {
        report(Severity::Error, map.entries[index], path, "",
               fmt::format("the section is empty because \"{}\" in line {} is not indented below it", next.key,
                           next.where.line),
               "indent the lines that belong to it by two spaces");
        return;
      }
    }
    report(Severity::Warning, map.entries[index], path, "", "the section is empty",
           "remove it, or indent the lines that belong to it");
  }

  void unlisted(const Value::Entry& entry, const std::string& section_path, const std::string& path) {
    if (const Setting* secret = secret_of_file_key(path, dynamic_)) {
      if (!entry.value.is_scalar()) {
        report(Severity::Error, entry, path, "",
               fmt::format("expected the path of a file with the {}", secret->path.substr(secret->path.rfind('.') + 1)),
               "");
      }
      return;
    }
    if (entry.key.starts_with("x-") || is_method_section(entry, section_path)) return;
    if (section_path.empty() && !dynamic_ && foreign_store(entry)) return;
    if (find_setting(path, !dynamic_) != nullptr) {
      if (dynamic_) {
        report(Severity::Warning, entry, path, "", "has no effect in the dynamic configuration",
               "it belongs into the local file of each member");
      } else {
        report(Severity::Warning, entry, path, "", "has no effect in the local file",
               std::string(kWhereDynamicBelongs));
      }
      return;
    }
    for (const std::string_view base : {"postgresql.pg_hba_", "postgresql.pg_ident_"}) {
      if (!path.starts_with(base)) continue;
      report(Severity::Warning, entry, path, "", "lists by role are not supported",
             fmt::format("use {}", base.substr(0, base.size() - 1)));
      return;
    }
    const auto near = nearest_match(entry.key, known_keys(section_path, dynamic_));
    report(Severity::Warning, entry, path, "", "unknown key",
           near ? fmt::format("did you mean \"{}\"?", *near) : "it is ignored");
  }

  // Sections of bootstrap and replica methods carry names of the operator's choice.
  [[nodiscard]] bool is_method_section(const Value::Entry& entry, const std::string& section_path) const {
    if (section_path != "postgresql" && section_path != "bootstrap") return false;
    return entry.value.is_map() &&
           (entry.value.find("command") != nullptr || entry.value.find("no_params") != nullptr ||
            entry.value.find("no_leader") != nullptr || entry.value.find("keep_data") != nullptr);
  }

  bool foreign_store(const Value::Entry& entry) {
    if (entry.key == "etcd") {
      report(Severity::Error, entry, entry.key, "",
             "selects the v2 API of etcd, whose keys are invisible to v3 and which etcd 3.6 no longer has; pgvigil "
             "speaks v3",
             "rename the section to \"etcd3\" (on all members at once)");
      return true;
    }
    for (const std::string_view store : {"consul", "zookeeper", "exhibitor", "kubernetes", "raft"}) {
      if (entry.key != store) continue;
      report(Severity::Error, entry, entry.key, "", "this store is not supported",
             "pgvigil keeps its state in etcd (section etcd3)");
      return true;
    }
    if (entry.key == "citus") {
      report(Severity::Error, entry, entry.key, "", "Citus clusters are not supported", "remove the section");
      return true;
    }
    return false;
  }

  void local_parameters(const Value& parameters, const std::string& path) {
    for (const Value::Entry& entry : parameters.entries) {
      if (!is_controlled(entry.key)) continue;
      std::string valid =
          fmt::format("it is the same on all members: set postgresql.parameters.{} with edit-config", entry.key);
      if (entry.key == "listen_addresses" || entry.key == "port") valid = "it follows from postgresql.listen";
      if (entry.key == "cluster_name") valid = "it follows from scope";
      report(Severity::Warning, entry, below(path, entry.key), entry.value.text, "has no effect in the local file",
             std::move(valid));
    }
  }

  void parameter_names(const Value& parameters, const std::string& path) {
    for (const Value::Entry& entry : parameters.entries) {
      const bool good = !entry.key.empty() && std::all_of(entry.key.begin(), entry.key.end(), [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '_' || c == '.' || c == '$';
      });
      if (!good) {
        report(Severity::Warning, entry, below(path, entry.key), "", "not the name of a parameter", "it is ignored");
      }
    }
  }

  static std::string shown(const Setting& row, const Value& value) {
    if (!value.is_scalar()) return "";
    const bool secret =
        row.kind == Kind::Secret || (row.kind == Kind::Url && value.text.find('@') != std::string::npos);
    return secret ? "***" : value.text;
  }

  void report(Severity severity, const Value::Entry& entry, const std::string& path, std::string value,
              std::string what, std::string valid) {
    const SourceLocation& where =
        entry.where.line > 0 || entry.value.where.file.empty() ? entry.where : entry.value.where;
    problems_.push_back({severity, where, prefix_ + path, std::move(value), std::move(what), std::move(valid)});
  }

  bool dynamic_;
  std::string prefix_;
  Problems& problems_;
};

void check_tags(const Value& root, Problems& problems) {
  const Value* tags = root.find("tags");
  if (tags == nullptr || tags->is_null()) return;
  if (!tags->is_map()) {
    problems.push_back(
        {Severity::Error, tags->where, "tags", "", "expected a section", "its keys stand below it, indented"});
    return;
  }
  for (const Value::Entry& entry : tags->entries) {
    const Value& value = entry.value;
    const bool flag = entry.key == "nofailover" || entry.key == "nosync" || entry.key == "noloadbalance" ||
                      entry.key == "clonefrom" || entry.key == "nostream";
    const bool priority = entry.key == "failover_priority" || entry.key == "sync_priority";
    if (value.is_null()) continue;
    if (flag && !(value.is_scalar() && parse_boolean(value.text))) {
      problems.push_back({Severity::Error, entry.where, "tags." + entry.key, value.text, "expected on or off",
                          "also true, yes, 1, false, no, 0"});
    } else if (priority && !(value.is_scalar() && parse_number(value.text, Unit::Plain))) {
      problems.push_back(
          {Severity::Error, entry.where, "tags." + entry.key, value.text, "expected a whole number", ""});
    }
  }
}

}  // namespace

void validate_local(const Value& root, Problems& problems) {
  Walk(false, "", problems).section(root, "");
  check_tags(root, problems);
}

void validate_dynamic(const Value& root, const std::string& shown_prefix, Problems& problems) {
  Walk(true, shown_prefix, problems).section(root, "");
}

}  // namespace pgvigil::config
