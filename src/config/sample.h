// A configuration to start from.
#pragma once

#include <string>

namespace pgvigil::config {

struct SampleChoices {
  std::string name = "postgresql-1";
  std::string scope = "demo";
  std::string host = "127.0.0.1";  // under which the other members reach this one
};

// Commented YAML that loads without a warning once the passwords' files exist. Patroni: --generate-sample-config.
std::string sample_config(const SampleChoices& choices = {});

}  // namespace pgvigil::config
