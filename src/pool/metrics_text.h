// The text exposition format of Prometheus, version 0.0.4.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pgvigil::pool {

using Labels = std::vector<std::pair<std::string_view, std::string>>;

class MetricsText {
 public:
  // Begins a family: its samples follow, before the next family.
  MetricsText& gauge(std::string_view name, std::string_view help) { return family(name, "gauge", help); }
  MetricsText& counter(std::string_view name, std::string_view help) { return family(name, "counter", help); }
  MetricsText& sample(double value, const Labels& labels = {});
  std::string take() { return std::move(out_); }

 private:
  MetricsText& family(std::string_view name, std::string_view type, std::string_view help);
  std::string out_;
  std::string name_;
};

// A label's value: quotes and line ends escaped, and what is not UTF-8 replaced, for which a scrape would be refused.
std::string label_value(std::string_view text);

}  // namespace pgvigil::pool
