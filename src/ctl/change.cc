#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "config/dynamic.h"
#include "config/yaml_reader.h"
#include "ctl/verbs.h"
#include "ctl/yaml_text.h"

namespace pgvigil::ctl {
namespace {

std::string json_of_yaml(const std::string& text, const std::string& name) {
  auto document = config::read_yaml_text(text, name);
  for (const auto& problem : document.problems) {
    if (problem.severity == config::Problem::Severity::Error) throw CommandError{problem.message()};
  }
  return config::to_json(document.root);
}

std::string read_input(const std::string& file) {
  if (file == "-") return {std::istreambuf_iterator<char>(std::cin), {}};
  auto text = config::read_small_file(file);
  if (!text) throw CommandError{text.error().message()};
  return *text;
}

// "a.b.c=VALUE"; below postgresql.parameters the rest of the path is one name, since settings' names may have dots.
void set_value(nlohmann::ordered_json& config, const std::string& assignment, const std::string& under) {
  const auto equals = assignment.find('=');
  if (equals == std::string::npos) throw CommandError{"Invalid parameter setting " + assignment};
  std::vector<std::string> path;
  std::string rest = under + assignment.substr(0, equals);
  const std::string parameters = "postgresql.parameters.";
  if (rest.starts_with(parameters)) {
    path = {"postgresql", "parameters", rest.substr(parameters.size())};
  } else {
    std::istringstream parts(rest);
    for (std::string part; std::getline(parts, part, '.');) path.push_back(part);
  }
  const auto value = nlohmann::ordered_json::parse(json_of_yaml("v: " + assignment.substr(equals + 1), assignment));
  auto* at = &config;
  for (std::size_t i = 0; i + 1 < path.size(); ++i) {
    auto& next = (*at)[path[i]];
    if (!next.is_object()) next = nlohmann::ordered_json::object();
    at = &next;
  }
  if (value["v"].is_null()) {
    at->erase(path.back());
  } else {
    (*at)[path.back()] = value["v"];
  }
}

// Lines that differ, with three lines of context at most: enough for a configuration of one page.
std::string difference(const std::string& before, const std::string& after) {
  const auto lines = [](const std::string& text) {
    std::vector<std::string> out;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) out.push_back(line);
    return out;
  };
  const auto a = lines(before);
  const auto b = lines(after);
  std::vector<std::vector<int>> common(a.size() + 1, std::vector<int>(b.size() + 1, 0));
  for (std::size_t i = a.size(); i-- > 0;) {
    for (std::size_t j = b.size(); j-- > 0;) {
      common[i][j] = a[i] == b[j] ? common[i + 1][j + 1] + 1 : std::max(common[i + 1][j], common[i][j + 1]);
    }
  }
  const bool colours = terminal_has_colours();
  const auto changed = [colours](const std::string& line, Paint paint) {
    return (colours ? painted(line, paint) : line) + "\n";
  };
  std::string out = "--- \n+++ \n";
  for (std::size_t i = 0, j = 0; i < a.size() || j < b.size();) {
    if (i < a.size() && j < b.size() && a[i] == b[j]) {
      out += " " + a[i++] + "\n";
      ++j;
    } else if (j < b.size() && (i == a.size() || common[i][j + 1] > common[i + 1][j])) {
      out += changed("+" + b[j++], Paint::Green);
    } else {
      out += changed("-" + a[i++], Paint::Red);
    }
  }
  return out;
}

std::string edited(const std::string& yaml) {
  std::string path = "/tmp/pgvigil-config-XXXXXX";
  const int fd = mkstemp(path.data());
  if (fd < 0) throw CommandError{"cannot create a temporary file: " + errno_text(errno)};
  close(fd);
  std::ofstream(path) << yaml;
  const char* editor = std::getenv("EDITOR");
  const std::string command =
      std::string(editor != nullptr && *editor != '\0' ? editor : "$(command -v editor || echo vi)") + " " + path;
  const int status = std::system(command.c_str());
  const std::string text = read_input(path);
  unlink(path.c_str());
  if (status != 0) throw CommandError{"the editor ended with an error; nothing was changed"};
  return text;
}

}  // namespace

void edit_config(Context& context, const EditOptions& options) {
  const auto view = context.view();
  const std::string before = view->config.value_or("{}");
  std::string after = before;
  bool from_input = false;
  if (!options.replace.empty()) {
    after = json_of_yaml(read_input(options.replace), options.replace);
    from_input = options.replace == "-";
  }
  if (!options.apply.empty()) {
    auto patched = config::merge_patch(after, json_of_yaml(read_input(options.apply), options.apply));
    if (!patched) throw CommandError{patched.error().message()};
    after = patched->json;
    from_input = from_input || options.apply == "-";
  }
  if (!options.set.empty() || !options.parameters.empty()) {
    auto json = nlohmann::ordered_json::parse(after);
    for (const auto& assignment : options.set) set_value(json, assignment, "");
    for (const auto& assignment : options.parameters) set_value(json, assignment, "postgresql.parameters.");
    after = json.dump(-1, ' ', true);
  }
  if (options.replace.empty() && options.apply.empty() && options.set.empty() && options.parameters.empty()) {
    after = json_of_yaml(edited(yaml_of(before)), "edited configuration");
  }
  const std::string old_yaml = yaml_of(before);
  const std::string new_yaml = yaml_of(after);
  if (old_yaml == new_yaml) {
    if (!options.quiet) fmt::print("Not changed\n");
    return;
  }
  if (!options.quiet) fmt::print("{}\n", difference(old_yaml, new_yaml));
  const auto problems = config::check_dynamic(after);
  for (const auto& problem : problems) fmt::print("{}\n", problem.message());
  if (config::has_errors(problems)) throw CommandError{"the configuration is not valid; nothing was changed"};
  if (!options.force) {
    if (from_input) {
      fmt::print("Use --force option to apply changes\n");
      return;
    }
    if (!confirmed("Apply these changes?")) return;
  }
  context.write_config(after, view->config_revision);
  if (!options.quiet) fmt::print("Configuration changed\n");
}

void set_pause(Context& context, bool pause, bool wait) {
  const auto view = context.view();
  if (is_paused(*view) == pause) throw CommandError{pause ? "Cluster is already paused" : "Cluster is not paused"};
  const auto reply = context.call_any(*view, "PATCH", "/config", pause ? R"({"pause":true})" : R"({"pause":null})");
  if (reply.status != 200) {
    throw CommandError{fmt::format("Failed: {} cluster management status code={}, ({})", pause ? "pause" : "resume",
                                   reply.status, reply.body)};
  }
  if (wait) {
    fmt::print("'{}' request sent, waiting until it is recognized by all nodes\n", pause ? "pause" : "resume");
    const auto settles = [&] {
      for (const auto& member : context.view()->members) {
        if (member.pause != pause) return false;
      }
      return true;
    };
    for (int i = 0; i < 60 && !settles(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(500));
  }
  fmt::print("Success: cluster management is {}\n", pause ? "paused" : "resumed");
}

void remove(Context& context) {
  const auto view = context.view();
  const auto& scope = context.config().scope;
  fmt::print("{}", cluster_table(*view, scope, {}));
  if (prompt("Please confirm the cluster name to remove", "") != scope)
    throw CommandError{"Cluster names specified do not match"};
  if (prompt("You are about to remove all information in DCS for " + scope + ", please type: \"Yes I am aware\"", "") !=
      "Yes I am aware") {
    throw CommandError{"You did not exactly type \"Yes I am aware\""};
  }
  if (view->leader && prompt("This cluster currently is healthy. Please specify the leader name to continue", "") !=
                          view->leader->name.text()) {
    throw CommandError{"You did not specify the current leader of the cluster"};
  }
  context.remove_cluster();
}

}  // namespace pgvigil::ctl
