// A password or key: prints as ***, is wiped when destroyed, and has to be asked for by name.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

namespace pgvigil {

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string value) : value_(std::move(value)) {}
  Secret(const Secret&) = default;
  Secret(Secret&&) noexcept = default;
  Secret& operator=(const Secret&) = default;
  Secret& operator=(Secret&&) noexcept = default;
  ~Secret() { wipe(); }

  [[nodiscard]] const std::string& reveal() const { return value_; }
  [[nodiscard]] bool empty() const { return value_.empty(); }
  friend bool operator==(const Secret&, const Secret&) = default;

 private:
  void wipe() {
    for (volatile char& c : value_) c = 0;
  }
  std::string value_;
};

}  // namespace pgvigil

template <>
struct fmt::formatter<pgvigil::Secret> : fmt::formatter<std::string_view> {
  template <class Context>
  auto format(const pgvigil::Secret&, Context& context) const {
    return fmt::formatter<std::string_view>::format("***", context);
  }
};
