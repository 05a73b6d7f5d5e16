// Errors are values. An error gathers context while it rises and is printed once, at the top, as one line that
// tells the operator what failed, on what, why, and what to do next.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace pgvigil {

// A code exists only where some caller acts on it differently.
enum class Errc : std::uint8_t {
  Failed,         // the operation was tried and did not succeed
  Timeout,        // the deadline passed; the operation may still have happened
  Unavailable,    // the other side could not be reached; nothing was done
  Refused,        // the other side answered and said no
  NotFound,       // the thing named does not exist
  LeaseLost,      // etcd does not know the lease (any more)
  Compacted,      // the revision asked for is gone; read everything anew
  Unauthorized,   // wrong user, password or certificate
  InvalidConfig,  // a setting cannot be used as written
  Cancelled,      // given up on our own request
};

std::string_view to_string(Errc code);

struct Error {
  Errc code = Errc::Failed;
  std::string what;     // "cannot read the control file"
  std::string subject;  // "/data/global/pg_control"; may be empty
  std::string cause;    // "Permission denied"; may be empty
  std::string remedy;   // "run the agent as the owner of the directory"; may be empty

  // "what subject: cause; remedy" without the empty parts.
  [[nodiscard]] std::string message() const;
};

template <class T>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> fail(Errc code, std::string what, std::string subject = {}, std::string cause = {},
                                  std::string remedy = {}) {
  return tl::unexpected<Error>(Error{code, std::move(what), std::move(subject), std::move(cause), std::move(remedy)});
}

// The text of an errno value, thread-safe.
std::string errno_text(int error_number);

// Ends the process with the expression and its place. For broken promises of our own, never for foreign input.
[[noreturn]] void assertion_failed(const char* expression, const char* file, int line);

}  // namespace pgvigil

// Asserts stay on in release builds: a crashed node fails over, a wrong one loses data.
#define PGV_ASSERT(expression)                                      \
  do {                                                              \
    if (!(expression)) [[unlikely]] {                               \
      ::pgvigil::assertion_failed(#expression, __FILE__, __LINE__); \
    }                                                               \
  } while (false)

#define PGV_CONCAT_INNER(a, b) a##b
#define PGV_CONCAT(a, b) PGV_CONCAT_INNER(a, b)

// PGV_TRY(name, expr): declares `name` with the value of the Result expr, or returns its error.
#define PGV_TRY(name, ...)                                                                                          \
  auto PGV_CONCAT(pgv_result_, name) = (__VA_ARGS__);                                                               \
  if (!PGV_CONCAT(pgv_result_, name)) return tl::make_unexpected(std::move(PGV_CONCAT(pgv_result_, name).error())); \
  auto& name = *PGV_CONCAT(pgv_result_, name)

#define PGV_TRY_VOID(...)                                                                                        \
  do {                                                                                                           \
    if (auto pgv_result = (__VA_ARGS__); !pgv_result) return tl::make_unexpected(std::move(pgv_result.error())); \
  } while (false)

// The same inside coroutines.
#define PGV_CO_TRY(name, ...)                                                                                          \
  auto PGV_CONCAT(pgv_result_, name) = (__VA_ARGS__);                                                                  \
  if (!PGV_CONCAT(pgv_result_, name)) co_return tl::make_unexpected(std::move(PGV_CONCAT(pgv_result_, name).error())); \
  auto& name = *PGV_CONCAT(pgv_result_, name)

#define PGV_CO_TRY_VOID(...)                                                       \
  do {                                                                             \
    auto pgv_result = (__VA_ARGS__);                                               \
    if (!pgv_result) co_return tl::make_unexpected(std::move(pgv_result.error())); \
  } while (false)
