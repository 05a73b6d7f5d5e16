// Metrics for Prometheus: the names of PgBouncer's usual exporter, so that dashboards stay, and pgvigil's own.
#pragma once

#include <memory>
#include <string>

#include "base/error.h"
#include "pool/control.h"

namespace pgvigil::pool {

struct Snapshot;

std::string metrics_text(const Snapshot& snapshot);

// Answers GET /metrics until it is destroyed; on the control thread.
class MetricsServer {
 public:
  virtual ~MetricsServer() = default;
  [[nodiscard]] virtual int port() const = 0;  // for port 0: the one that the kernel gave
};
// `listen`: host:port, [v6]:port or :port (all addresses), as in metrics_listen.
Result<std::unique_ptr<MetricsServer>> make_metrics_server(Control& control, const std::string& listen);

}  // namespace pgvigil::pool
