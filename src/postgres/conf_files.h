// The server's configuration files. Every write is durable and atomic (a crash leaves the old or the new file), and
// leaves an unchanged file untouched.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "config/agent_config.h"
#include "postgres/server_settings.h"

namespace pgvigil::postgres {

// Text of postgresql.conf. `include` is the file included first; hba_file and ident_file are added unless configured.
std::string render_postgresql_conf(const ServerSettings& settings, const std::string& include,
                                   const std::string& config_dir);
// postgresql.auto.conf without recovery settings.
std::string strip_recovery_settings(std::string_view auto_conf);

class ConfFiles {
 public:
  explicit ConfFiles(const config::PostgresConfig& config);  // copies what it needs

  // Writes postgresql.conf (the first time the original becomes <base>.base.conf, unless custom_conf is set),
  // pg_hba.conf and pg_ident.conf where managed, the pgpass file, and the signal files; strips postgresql.auto.conf.
  // The instance may be running. True: something changed, so a running server has to reload.
  Result<bool> write(const ServerInputs& inputs, const ServerSettings& settings) const;
  // pg_hba.conf and pg_ident.conf only. True: changed.
  Result<bool> write_hba_and_ident() const;
  // Only the pgpass file, for child processes that connect to `upstream`. Its path is pgpass().
  Result<bool> write_pgpass(const std::optional<Upstream>& upstream) const;
  // standby.signal there (and recovery.signal gone), or both gone. True: changed.
  Result<bool> set_standby_signal(bool standby) const;

  // For a new cluster, after initdb: pg_hba.conf becomes postgresql.pg_hba if that is set, else initdb's own file with
  // bootstrap.pg_hba appended. Renames the original postgresql.conf. Idempotent.
  Result<void> prepare_new_cluster(const std::vector<std::string>& bootstrap_hba) const;
  // While a custom bootstrap method runs only local connections of the superuser are let in, without a password.
  Result<void> write_trusting_hba() const;

  // Copies of the four files as <name>.backup in the data directory, so that clones carry them.
  Result<void> save_backups() const;
  // Puts back, from the copies, those of the four files that are missing (after a clone with another config_dir).
  Result<void> restore_missing() const;

  [[nodiscard]] std::string postgresql_conf() const;  // paths
  [[nodiscard]] std::string pg_hba() const;
  [[nodiscard]] std::string pg_ident() const;
  [[nodiscard]] std::string pgpass() const { return pgpass_; }

 private:
  [[nodiscard]] std::string base_conf() const;
  [[nodiscard]] unsigned file_mode() const;
  Result<bool> adopt_original() const;
  [[nodiscard]] std::vector<std::string> backed_up_files() const;

  config::PostgresConfig config_;
  std::string pgpass_;
};

// Replaces the file durably if its content differs; true when it did. `mode`: permissions of a new file.
Result<bool> replace_file(const std::string& path, std::string_view content, unsigned mode);

}  // namespace pgvigil::postgres
