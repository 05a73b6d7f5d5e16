#include "postgres/conf_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "postgres/conninfo.h"
#include "postgres/spawn.h"

namespace pgvigil::postgres {
namespace {

std::optional<std::string> read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

bool exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

std::string quoted(const std::string& value) {
  std::string text = "'";
  for (const char c : value) {
    if (c == '\'' || c == '\\') text += c;
    text += c;
  }
  return text + "'";
}

std::string lines_of(const std::vector<std::string>& lines) {
  std::string text = "# Written by pgvigil from the configuration: changes here are lost.\n\n";
  for (const auto& line : lines) text += line + "\n";
  return text;
}

tl::unexpected<Error> cannot_write(const std::string& path) {
  return fail(Errc::Failed, "cannot write", path, errno_text(errno), "check the owner of the directory and the disk");
}

void sync_directory(const std::string& path) {
  Fd folder(open(std::filesystem::path(path).parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.valid()) fsync(folder.get());
}

// The setting's name of a line of a configuration file; empty for comments and blank lines.
std::string_view setting_name(std::string_view line) {
  const auto begin = line.find_first_not_of(" \t");
  if (begin == std::string_view::npos || line[begin] == '#') return {};
  const auto end = line.find_first_of(" \t=", begin);
  return line.substr(begin, end == std::string_view::npos ? end : end - begin);
}

}  // namespace

Result<bool> replace_file(const std::string& path, std::string_view content, unsigned mode) {
  if (const auto old = read_text(path); old && *old == content) return false;
  const std::string next = path + ".pgvigil-new";
  Fd file(open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
  if (!file.valid() || fchmod(file.get(), mode) != 0) return cannot_write(path);
  std::string_view rest = content;
  while (!rest.empty()) {
    const ssize_t wrote = write(file.get(), rest.data(), rest.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return cannot_write(path);
    rest.remove_prefix(static_cast<std::size_t>(wrote));
  }
  if (fsync(file.get()) != 0) return cannot_write(path);
  file.reset();
  if (std::rename(next.c_str(), path.c_str()) != 0) return cannot_write(path);
  sync_directory(path);
  return true;
}

std::string render_postgresql_conf(const ServerSettings& settings, const std::string& include,
                                   const std::string& config_dir) {
  std::string text =
      "# Written by pgvigil: changes here are lost. Settings belong into the dynamic configuration\n"
      "# (pgvigil edit-config), the agent's file, or the file that is included next.\n";
  text += "include " + quoted(include) + "\n\n";
  for (const auto& [name, value] : settings.parameters) text += fmt::format("{} = {}\n", name, quoted(value));
  if (settings.parameters.count("hba_file") == 0)
    text += fmt::format("hba_file = {}\n", quoted(config_dir + "/pg_hba.conf"));
  if (settings.parameters.count("ident_file") == 0) {
    text += fmt::format("ident_file = {}\n", quoted(config_dir + "/pg_ident.conf"));
  }
  if (!settings.recovery.empty()) {
    text += "\n# recovery.conf\n";
    for (const auto& [name, value] : settings.recovery) text += fmt::format("{} = {}\n", name, quoted(value));
  }
  return text;
}

std::string strip_recovery_settings(std::string_view auto_conf) {
  std::string kept;
  while (!auto_conf.empty()) {
    const auto end = auto_conf.find('\n');
    const auto line = auto_conf.substr(0, end);
    auto_conf.remove_prefix(end == std::string_view::npos ? auto_conf.size() : end + 1);
    if (!is_recovery_setting(setting_name(line))) kept += std::string(line) + "\n";
  }
  return kept;
}

ConfFiles::ConfFiles(const config::PostgresConfig& config) : config_(config), pgpass_(pgpass_path(config)) {
  if (config_.config_dir.empty()) config_.config_dir = config_.data_dir;
}

std::string ConfFiles::postgresql_conf() const { return config_.config_dir + "/" + config_.config_base_name + ".conf"; }
std::string ConfFiles::base_conf() const { return config_.config_base_name + ".base.conf"; }
std::string ConfFiles::pg_hba() const {
  const auto found = config_.parameters.find("hba_file");
  return found != config_.parameters.end() ? found->second : config_.config_dir + "/pg_hba.conf";
}
std::string ConfFiles::pg_ident() const {
  const auto found = config_.parameters.find("ident_file");
  return found != config_.parameters.end() ? found->second : config_.config_dir + "/pg_ident.conf";
}

unsigned ConfFiles::file_mode() const {
  struct stat info {};
  if (stat(config_.data_dir.c_str(), &info) == 0 && (info.st_mode & S_IRGRP) != 0) return 0640;
  return 0600;
}

// Before the first write the server's own file becomes the one that ours includes. Error-free when there is none.
Result<bool> ConfFiles::adopt_original() const {
  const std::string original = postgresql_conf();
  const std::string base = config_.config_dir + "/" + base_conf();
  if (!config_.custom_conf.empty() || exists(base)) return false;
  if (!exists(original)) return replace_file(base, "", file_mode());
  if (std::rename(original.c_str(), base.c_str()) != 0) return cannot_write(base);
  sync_directory(base);
  return true;
}

Result<bool> ConfFiles::write(const ServerInputs& inputs, const ServerSettings& settings) const {
  PGV_TRY(adopted, adopt_original());
  bool changed = adopted;
  const std::string include = config_.custom_conf.empty() ? base_conf() : config_.custom_conf;
  PGV_TRY(main,
          replace_file(postgresql_conf(), render_postgresql_conf(settings, include, config_.config_dir), file_mode()));
  PGV_TRY(access_rules, write_hba_and_ident());
  PGV_TRY(pass, write_pgpass(inputs.run.upstream));
  PGV_TRY(signal, set_standby_signal(inputs.run.standby));
  changed = changed || main || access_rules || pass || signal;
  const std::string auto_conf = config_.data_dir + "/postgresql.auto.conf";
  if (const auto text = read_text(auto_conf)) {
    PGV_TRY(stripped, replace_file(auto_conf, strip_recovery_settings(*text), file_mode()));
    changed = changed || stripped;
  }
  return changed;
}

Result<bool> ConfFiles::write_hba_and_ident() const {
  bool changed = false;
  if (!config_.pg_hba.empty() && config_.parameters.count("hba_file") == 0) {
    PGV_TRY(wrote, replace_file(pg_hba(), lines_of(config_.pg_hba), file_mode()));
    changed = wrote;
  }
  if (!config_.pg_ident.empty() && config_.parameters.count("ident_file") == 0) {
    PGV_TRY(wrote, replace_file(pg_ident(), lines_of(config_.pg_ident), file_mode()));
    changed = changed || wrote;
  }
  return changed;
}

Result<bool> ConfFiles::write_pgpass(const std::optional<Upstream>& upstream) const {
  return replace_file(pgpass_, pgpass_text(config_, upstream), 0600);
}

Result<bool> ConfFiles::set_standby_signal(bool standby) const {
  const std::string signal = config_.data_dir + "/standby.signal";
  const std::string recovery = config_.data_dir + "/recovery.signal";
  bool changed = false;
  for (const auto& path : {recovery, standby ? std::string() : signal}) {
    if (path.empty() || !exists(path)) continue;
    if (unlink(path.c_str()) != 0) return cannot_write(path);
    sync_directory(path);
    changed = true;
  }
  if (standby && !exists(signal)) return replace_file(signal, "", file_mode());
  return changed;
}

Result<void> ConfFiles::prepare_new_cluster(const std::vector<std::string>& bootstrap_hba) const {
  PGV_TRY_VOID(adopt_original());
  if (!config_.pg_hba.empty()) {
    PGV_TRY_VOID(write_hba_and_ident());
    return {};
  }
  if (bootstrap_hba.empty()) return {};
  std::string text = read_text(pg_hba()).value_or(std::string());
  const std::string mark = "\n# bootstrap.pg_hba\n";
  if (const auto at = text.find(mark); at != std::string::npos) text.resize(at);
  text += mark;
  for (const auto& line : bootstrap_hba) text += line + "\n";
  PGV_TRY_VOID(replace_file(pg_hba(), text, file_mode()));
  return {};
}

Result<void> ConfFiles::write_trusting_hba() const {
  const std::string user = config_.superuser.username.empty() ? "all" : config_.superuser.username;
  std::string text =
      fmt::format("local all {0} trust\nhost all {0} 127.0.0.1/32 trust\nhost all {0} ::1/128 trust\n", user);
  text += "local replication all trust\nhost replication all 127.0.0.1/32 trust\nhost replication all ::1/128 trust\n";
  PGV_TRY_VOID(replace_file(pg_hba(), text, file_mode()));
  return {};
}

std::vector<std::string> ConfFiles::backed_up_files() const {
  return {postgresql_conf(), config_.config_dir + "/" + base_conf(), pg_hba(), pg_ident()};
}

Result<void> ConfFiles::save_backups() const {
  for (const auto& path : backed_up_files()) {
    const auto text = read_text(path);
    if (!text) continue;
    const std::string copy = config_.data_dir + "/" + std::filesystem::path(path).filename().string() + ".backup";
    PGV_TRY_VOID(replace_file(copy, *text, file_mode()));
  }
  return {};
}

Result<void> ConfFiles::restore_missing() const {
  for (const auto& path : backed_up_files()) {
    if (exists(path)) continue;
    const auto text = read_text(config_.data_dir + "/" + std::filesystem::path(path).filename().string() + ".backup");
    if (text) PGV_TRY_VOID(replace_file(path, *text, file_mode()));
  }
  return {};
}

}  // namespace pgvigil::postgres
