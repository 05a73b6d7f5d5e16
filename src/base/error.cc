#include "base/error.h"

#include <cstdio>
#include <cstdlib>
#include <system_error>

namespace pgvigil {

std::string_view to_string(Errc code) {
  switch (code) {
    case Errc::Failed: return "failed";
    case Errc::Timeout: return "timeout";
    case Errc::Unavailable: return "unavailable";
    case Errc::Refused: return "refused";
    case Errc::NotFound: return "not found";
    case Errc::LeaseLost: return "lease lost";
    case Errc::Compacted: return "compacted";
    case Errc::Unauthorized: return "unauthorized";
    case Errc::InvalidConfig: return "invalid configuration";
    case Errc::Cancelled: return "cancelled";
  }
  return "unknown";
}

std::string Error::message() const {
  std::string text = what;
  if (!subject.empty()) text += " " + subject;
  if (!cause.empty()) text += ": " + cause;
  if (!remedy.empty()) text += "; " + remedy;
  return text;
}

std::string errno_text(int error_number) { return std::generic_category().message(error_number); }

void assertion_failed(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "pgvigil: broken invariant %s at %s:%d; this is a bug, please report it\n", expression, file,
               line);
  std::abort();
}

}  // namespace pgvigil
