// Names and numbers that must not be mistaken for each other.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

namespace pgvigil {

// A revision of the etcd key space; 0 = none. etcd documentation, "KV API guarantees".
class Revision {
 public:
  constexpr Revision() = default;
  constexpr explicit Revision(std::int64_t number) : number_(number) {}
  [[nodiscard]] constexpr std::int64_t value() const { return number_; }
  [[nodiscard]] constexpr Revision next() const { return Revision(number_ + 1); }
  friend constexpr auto operator<=>(Revision, Revision) = default;

 private:
  std::int64_t number_ = 0;
};

// The reign of one leader: the create revision of the leader key. A later reign has a larger term.
class Term {
 public:
  constexpr Term() = default;
  constexpr explicit Term(Revision leader_key_created) : revision_(leader_key_created) {}
  [[nodiscard]] constexpr std::int64_t value() const { return revision_.value(); }
  friend constexpr auto operator<=>(Term, Term) = default;

 private:
  Revision revision_;
};

class LeaseId {  // 0 = no lease
 public:
  constexpr LeaseId() = default;
  constexpr explicit LeaseId(std::int64_t id) : id_(id) {}
  [[nodiscard]] constexpr std::int64_t value() const { return id_; }
  [[nodiscard]] constexpr bool known() const { return id_ != 0; }
  friend constexpr auto operator<=>(LeaseId, LeaseId) = default;

 private:
  std::int64_t id_ = 0;
};

template <class Tag>
class StrongText {
 public:
  StrongText() = default;
  explicit StrongText(std::string text) : text_(std::move(text)) {}
  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] bool empty() const { return text_.empty(); }
  friend auto operator<=>(const StrongText&, const StrongText&) = default;
  friend bool operator==(const StrongText&, const StrongText&) = default;

 private:
  std::string text_;
};

using MemberName = StrongText<struct MemberNameTag>;
// PostgreSQL's database system identifier, as decimal text; empty = unknown.
using SystemId = StrongText<struct SystemIdTag>;

// A system identifier as Patroni writes it into `initialize`: at least ten digits. Anything else is not one.
bool is_valid(const SystemId& id);

}  // namespace pgvigil

template <class Tag>
struct std::hash<pgvigil::StrongText<Tag>> {
  std::size_t operator()(const pgvigil::StrongText<Tag>& text) const noexcept {
    return std::hash<std::string>()(text.text());
  }
};
