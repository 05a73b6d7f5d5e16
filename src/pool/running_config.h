// Everything that was read from files, as one immutable value: a reload makes a new one and hands it to every worker.
#pragma once

#include <memory>

#include "netio/tls.h"
#include "poolcfg/auth_file.h"
#include "poolcfg/hba.h"
#include "poolcfg/settings.h"

namespace pgvigil::pool {

struct RunningConfig {
  poolcfg::PoolConfig file;
  poolcfg::AuthFile auth;
  poolcfg::HbaFile hba;
  poolcfg::IdentMap ident;
  netio::TlsContextPtr client_tls;  // null: client_tls_sslmode=disable
  netio::TlsContextPtr server_tls;  // null: server_tls_sslmode=disable

  [[nodiscard]] const poolcfg::Settings& settings() const { return file.settings; }
};
using RunningConfigPtr = std::shared_ptr<const RunningConfig>;

}  // namespace pgvigil::pool
