#include "config/secrets.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <set>
#include <string>
#include <vector>

#include "config/settings_table.h"
#include "config/yaml_reader.h"

namespace pgvigil::config {

namespace {

using Severity = Problem::Severity;

struct Place {
  std::string section, key;  // "postgresql.authentication.superuser", "password"
};

std::vector<Place> secret_places() {
  std::vector<Place> places;
  for (const Setting& row : settings()) {
    if (row.kind != Kind::Secret) continue;
    const std::string path(row.path);
    const std::size_t dot = path.rfind('.');
    const Place place{path.substr(0, dot), path.substr(dot + 1)};
    places.push_back(place);
    if (place.section != "postgresql.authentication.superuser") continue;
    places.push_back({"postgresql.authentication.replication", place.key});
    places.push_back({"postgresql.authentication.rewind", place.key});
  }
  return places;
}

bool readable_by_all(const std::string& file) {
  struct stat status {};
  return stat(file.c_str(), &status) == 0 && (status.st_mode & S_IROTH) != 0;
}

class Resolver {
 public:
  explicit Resolver(Problems& problems) : problems_(problems) {}

  void resolve(Value& section, const std::string& path, const std::string& key) {
    const std::string file_key = key + "_file";
    const Value* inline_value = section.find(key);
    if (inline_value != nullptr && inline_value->is_scalar() && !inline_value->text.empty())
      remember(inline_value->where);
    const Value* file = section.find(file_key);
    if (file == nullptr || file->is_null()) return;
    const std::string file_path = path + "." + file_key;
    if (!file->is_scalar()) return;  // validation has said so
    if (inline_value != nullptr && !inline_value->is_null()) {
      report(Severity::Error, file->where, file_path, "", fmt::format("given together with {}", key),
             "keep one of them");
      return;
    }
    auto text = read_small_file(file->text);
    if (!text) {
      report(Severity::Error, file->where, file_path, file->text,
             fmt::format("cannot read the {} from this file: {}", key, text.error().cause),
             "check that the file exists and that this user may read it");
      return;
    }
    if (!text->empty() && text->back() == '\n') text->pop_back();
    if (!text->empty() && text->back() == '\r') text->pop_back();
    if (text->empty()) {
      report(Severity::Error, file->where, file_path, file->text, "the file is empty",
             fmt::format("expected the {} in it", key));
      return;
    }
    if (text->find_first_of(std::string_view("\n\r\0", 3)) != std::string::npos) {
      report(Severity::Error, file->where, file_path, file->text, "the file has more than one line",
             fmt::format("expected only the {} in it", key));
      return;
    }
    // Container runtimes mount secrets under /run/secrets with mode 0444; only the container sees them.
    if (readable_by_all(file->text) && !file->text.starts_with("/run/secrets/")) {
      report(Severity::Warning, file->where, file_path, file->text, "every user of this machine may read this file",
             fmt::format("run: chmod 600 {}", file->text));
    }
    Value secret = Value::scalar(std::move(*text), {file->text, 0, 0});
    section.remove(file_key);
    section.set(key, std::move(secret));
  }

  void report_exposed_files() {
    for (const std::string& file : files_) {
      if (!readable_by_all(file)) continue;
      report(Severity::Warning, {file, 0, 0}, "", "", "holds passwords, and every user of this machine may read it",
             fmt::format("run: chmod 600 {}, or move the passwords to files of their own (password_file)", file));
    }
  }

 private:
  void remember(const SourceLocation& where) {
    if (where.line > 0) files_.insert(where.file);
  }
  void report(Severity severity, SourceLocation where, std::string path, std::string value, std::string what,
              std::string valid) {
    problems_.push_back(
        {severity, std::move(where), std::move(path), std::move(value), std::move(what), std::move(valid)});
  }

  Problems& problems_;
  std::set<std::string> files_;
};

}  // namespace

void resolve_secret_files(Value& root, Problems& problems) {
  Resolver resolver(problems);
  for (const Place& place : secret_places()) {
    auto* section = const_cast<Value*>(root.at(place.section));
    if (section != nullptr && section->is_map()) resolver.resolve(*section, place.section, place.key);
  }
  auto* users = const_cast<Value*>(root.at("bootstrap.users"));
  if (users != nullptr && users->is_map()) {
    for (Value::Entry& user : users->entries) {
      if (user.value.is_map()) resolver.resolve(user.value, "bootstrap.users." + user.key, "password");
    }
  }
  resolver.report_exposed_files();
}

void hide_secrets(Value& value) {
  static const std::set<std::string> keys = [] {
    std::set<std::string> names;
    for (const Place& place : secret_places()) names.insert(place.key);
    return names;
  }();
  for (Value& item : value.items) hide_secrets(item);
  for (Value::Entry& entry : value.entries) {
    if (entry.value.is_scalar() && keys.count(entry.key) > 0) {
      entry.value = Value::scalar("***", entry.where);
    } else {
      hide_secrets(entry.value);
    }
  }
  if (!value.is_scalar()) return;
  const auto scheme = value.text.find("://");
  const auto at = value.text.rfind('@');
  const auto colon = scheme == std::string::npos ? scheme : value.text.find(':', scheme + 3);
  if (colon != std::string::npos && at != std::string::npos && colon < at)
    value.text.replace(colon + 1, at - colon - 1, "***");
}

}  // namespace pgvigil::config
