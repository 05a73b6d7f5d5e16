// `--name value` arguments of the benchmark program.
#pragma once

#include <cstdlib>
#include <iostream>
#include <map>
#include <string>

namespace bench {

class Options {
 public:
  Options(int argc, char** argv) {
    for (int i = 2; i < argc; ++i) {
      const std::string name = argv[i];
      if (!name.starts_with("--") || i + 1 == argc) {
        std::cerr << "pgvigil-bench-pooler: '" << name << "' needs the form --name value\n";
        std::exit(2);
      }
      values_[name.substr(2)] = argv[++i];
    }
  }

  [[nodiscard]] std::string text(const std::string& name, std::string fallback = {}) const {
    const auto found = values_.find(name);
    return found == values_.end() ? fallback : found->second;
  }

  [[nodiscard]] double number(const std::string& name, double fallback) const {
    const auto found = values_.find(name);
    return found == values_.end() ? fallback : std::strtod(found->second.c_str(), nullptr);
  }

 private:
  std::map<std::string, std::string> values_;
};

int run_server(const Options& options);
int run_load(const Options& options);

}  // namespace bench
