#include <unistd.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "ctl/verbs.h"
#include "ctl/yaml_text.h"

namespace pgvigil::ctl {

void list(Context& context, const ListOptions& options, bool timestamp, std::optional<double> watch) {
  for (;;) {
    const auto view = context.view();
    if (watch && isatty(STDOUT_FILENO) != 0) fmt::print("\033[2J\033[H");
    if (timestamp) fmt::print("{}\n", now_text());
    fmt::print("{}", cluster_table(*view, context.config().scope, options));
    std::fflush(stdout);
    if (!watch) return;
    std::this_thread::sleep_for(std::chrono::duration<double>(*watch));
  }
}

void history(Context& context, bool of_config, Format format) {
  const auto view = context.view();
  fmt::print("{}", of_config ? config_history_table(*view, format) : history_table(*view, format));
}

void show_config(Context& context) {
  const auto view = context.view();
  fmt::print("{}", yaml_of(view->config.value_or("{}")));
}

void dsn(Context& context, const std::string& role, const std::string& member) {
  const auto view = context.view();
  std::vector<std::string> names;
  if (!member.empty()) names.push_back(member);
  const auto chosen = select(*view, role.empty() && member.empty() ? "leader" : role.empty() ? "any" : role, names);
  fmt::print("host={} port={}\n", chosen.front()->host, chosen.front()->port);
}

void member_versions(Context& context, const std::vector<std::string>& members) {
  const auto view = context.view();
  for (const auto* member : select(*view, "any", members)) {
    try {
      const auto reply = context.call(*member, "GET", "/patroni", {}, std::chrono::seconds(5));
      const auto json = nlohmann::json::parse(reply.body, nullptr, false);
      const int number = json.is_object() ? json.value("server_version", 0) : 0;
      const std::string agent =
          json.is_object() && json.contains("patroni") ? json["patroni"].value("version", "") : "";
      fmt::print("{}: Patroni {} PostgreSQL {}.{}\n", member->name.text(), agent, number / 10000, number % 10000);
    } catch (const CommandError& error) {
      fmt::print("{}: failed to get version: {}\n", member->name.text(), error.text);
    }
  }
}

}  // namespace pgvigil::ctl
