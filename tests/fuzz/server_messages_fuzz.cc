// Bodies of the messages that a server sends. The first byte is the message's type: E, R (the list of mechanisms) or D.
#include <algorithm>

#include "check.h"
#include "pgwire/messages.h"

using namespace pgvigil::pgwire;

namespace {

void error_fields(std::string_view body) {
  const auto fields = parse_error_fields(body);
  for (const auto* text : {&fields.severity, &fields.sqlstate, &fields.message, &fields.detail, &fields.hint}) {
    FUZZ_CHECK(text->size() < std::max<std::size_t>(body.size(), 1) && text->find('\0') == std::string::npos);
  }
  std::string out;
  notice_response(out, fields.severity, fields.sqlstate, fields.message, fields.detail);
  const auto again = parse_error_fields(std::string_view(out).substr(kHeaderBytes));
  FUZZ_CHECK(again.severity == fields.severity && again.sqlstate == fields.sqlstate);
  FUZZ_CHECK(again.message == fields.message && again.detail == fields.detail);
}

void mechanisms(std::string_view body) {
  const auto names = parse_sasl_mechanisms(body);
  std::string out;
  authentication_sasl(out, {names.begin(), names.end()});
  FUZZ_CHECK(parse_sasl_mechanisms(std::string_view(out).substr(kHeaderBytes + 4)) == names);
}

void row(std::string_view body) {
  const auto values = parse_data_row(body);
  if (!values) return;
  std::string out;
  data_row(out, *values);
  FUZZ_CHECK(std::string_view(out).substr(kHeaderBytes) == body);
  for (const auto& value : *values) {
    if (!value) continue;
    // A literal is closed by its last quote, and by no other.
    const auto literal = quote_literal(*value);
    std::size_t quotes = 0;
    for (const char c : literal) quotes += c == '\'' ? 1 : 0;
    FUZZ_CHECK(quotes % 2 == 0 && literal.size() >= 2 && literal.back() == '\'');
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const char* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view body(data + 1, size - 1);
  switch (data[0]) {
    case 'E': error_fields(body); break;
    case 'R': mechanisms(body); break;
    case 'D': row(body); break;
    default: break;
  }
  return 0;
}
