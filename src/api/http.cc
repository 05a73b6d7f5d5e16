#include "api/http.h"

#include <fmt/format.h>

#include <array>

namespace pgvigil::api {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+') {
      out += ' ';
    } else if (text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0) {
      out += static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::map<std::string, std::string> parse_query(std::string_view query) {
  std::map<std::string, std::string> values;
  while (!query.empty()) {
    const std::size_t end = query.find('&');
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(end == std::string_view::npos ? query.size() : end + 1);
    const std::size_t equals = pair.find('=');
    if (equals == std::string_view::npos || equals + 1 == pair.size()) continue;
    values.emplace(decode(pair.substr(0, equals)), decode(pair.substr(equals + 1)));
  }
  return values;
}

struct Phrase {
  int status;
  std::string_view reason, explanation;
};

constexpr std::array kPhrases{
    Phrase{200, "OK", "Request fulfilled"},
    Phrase{202, "Accepted", "Request accepted, it is carried out later"},
    Phrase{400, "Bad Request", "The request could not be understood"},
    Phrase{401, "Unauthorized", "Credentials are needed"},
    Phrase{403, "Forbidden", "The request is not permitted"},
    Phrase{404, "Not Found", "Nothing matches the request"},
    Phrase{408, "Request Timeout", "The request did not arrive in time"},
    Phrase{409, "Conflict", "Somebody else has changed it meanwhile"},
    Phrase{411, "Length Required", "Client must specify Content-Length"},
    Phrase{412, "Precondition Failed", "A condition of the request does not hold"},
    Phrase{413, "Request Entity Too Large", "The body is too large"},
    Phrase{422, "Unprocessable Entity", "The request is well formed and makes no sense"},
    Phrase{431, "Request Header Fields Too Large", "The header is too large"},
    Phrase{500, "Internal Server Error", "The server got itself into trouble"},
    Phrase{501, "Not Implemented", "Server does not support this operation"},
    Phrase{502, "Bad Gateway", "There is nothing to answer with"},
    Phrase{503, "Service Unavailable", "The server cannot process the request now"},
};

const Phrase* phrase_of(int status) {
  for (const Phrase& phrase : kPhrases) {
    if (phrase.status == status) return &phrase;
  }
  return nullptr;
}

}  // namespace

Target parse_target(std::string_view target) {
  Target result;
  // RFC 9112, 3.2.2: a proxy may send the absolute form.
  for (const std::string_view scheme : {std::string_view("http://"), std::string_view("https://")}) {
    if (target.substr(0, scheme.size()) != scheme) continue;
    const std::size_t slash = target.find('/', scheme.size());
    target = slash == std::string_view::npos ? std::string_view("/") : target.substr(slash);
    break;
  }
  target = target.substr(0, target.find('#'));
  const std::size_t question = target.find('?');
  if (question != std::string_view::npos) result.query = parse_query(target.substr(question + 1));
  const std::string_view path = target.substr(0, question);
  result.path = path;
  const std::size_t begin = path.find_first_not_of('/');
  if (begin != std::string_view::npos) {
    const std::string_view rest = path.substr(begin);
    result.segment = rest.substr(0, rest.find('/'));
  }
  return result;
}

Reply status_only(int status) {
  Reply reply;
  reply.status = status;
  reply.bare = true;
  return reply;
}

Reply text_reply(int status, std::string text) {
  Reply reply;
  reply.status = status;
  reply.content_type = "text/html";
  reply.body = std::move(text);
  return reply;
}

Reply json_reply(int status, const Json& body) {
  Reply reply;
  reply.status = status;
  reply.content_type = "application/json";
  reply.body = dump_spaced(body);
  return reply;
}

Reply error_page(int status) {
  const Phrase* phrase = phrase_of(status);
  Reply reply;
  reply.status = status;
  reply.error_page = true;
  reply.content_type = "text/html;charset=utf-8";
  reply.body = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Error response</title></head>\n"
      "<body>\n<h1>Error response</h1>\n<p>Error code: {}</p>\n<p>Message: {}.</p>\n<p>{}.</p>\n</body>\n</html>\n",
      status, reason_phrase(status), phrase == nullptr ? std::string_view("Unknown") : phrase->explanation);
  return reply;
}

std::string_view reason_phrase(int status) {
  const Phrase* phrase = phrase_of(status);
  return phrase == nullptr ? std::string_view("Unknown") : phrase->reason;
}

std::string http_date(WallTime at) {
  constexpr std::array<std::string_view, 7> kDays{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr std::array<std::string_view, 12> kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const auto day = std::chrono::floor<std::chrono::days>(at);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss<std::chrono::microseconds> time(at - day);
  return fmt::format("{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT", kDays[std::chrono::weekday(day).c_encoding()],
                     static_cast<unsigned>(date.day()), kMonths[static_cast<unsigned>(date.month()) - 1],
                     static_cast<int>(date.year()), time.hours().count(), time.minutes().count(),
                     time.seconds().count());
}

std::string serialize(const Reply& reply, const ReplyStyle& style, WallTime now) {
  std::string out = fmt::format("HTTP/1.0 {} {}\r\n", reply.status, reason_phrase(reply.status));
  if (reply.bare) return out + "\r\n";
  out += fmt::format("Server: {}\r\nDate: {}\r\n", style.server, http_date(now));
  if (reply.error_page) out += "Connection: close\r\n";
  out += fmt::format("Content-Type: {}\r\n", reply.content_type);
  for (const auto& [name, value] : reply.headers) out += fmt::format("{}: {}\r\n", name, value);
  if (reply.error_page) {
    out += fmt::format("Content-Length: {}\r\n", reply.body.size());
  } else {
    for (const auto& [name, value] : style.extra_headers) out += fmt::format("{}: {}\r\n", name, value);
  }
  return out + "\r\n" + reply.body;
}

std::optional<Url> parse_url(std::string_view url) {
  Url result;
  if (url.substr(0, 7) == "http://") {
    url.remove_prefix(7);
    result.port = "80";
  } else if (url.substr(0, 8) == "https://") {
    url.remove_prefix(8);
    result.tls = true;
    result.port = "443";
  } else {
    return std::nullopt;
  }
  std::string_view authority = url.substr(0, url.find_first_of("/?#"));
  const std::string_view rest = url.substr(authority.size());
  result.path = rest.substr(0, rest.find('#'));
  if (result.path.empty() || result.path.front() != '/') result.path.insert(0, "/");
  if (const std::size_t at = authority.rfind('@'); at != std::string_view::npos) authority.remove_prefix(at + 1);
  std::string_view port;
  if (!authority.empty() && authority.front() == '[') {
    const std::size_t close = authority.find(']');
    if (close == std::string_view::npos) return std::nullopt;
    result.host = authority.substr(1, close - 1);
    authority.remove_prefix(close + 1);
    if (!authority.empty() && authority.front() != ':') return std::nullopt;
    if (!authority.empty()) port = authority.substr(1);
  } else {
    const std::size_t colon = authority.find(':');
    result.host = authority.substr(0, colon);
    if (colon != std::string_view::npos) port = authority.substr(colon + 1);
  }
  // A control character or space in it could end the request line early and start another request.
  for (const char c : result.path) {
    if (static_cast<unsigned char>(c) <= ' ' || c == 0x7f) return std::nullopt;
  }
  for (const char c : result.host) {
    if (static_cast<unsigned char>(c) <= ' ' || c == 0x7f) return std::nullopt;
  }
  if (result.host.empty() || port.size() > 5 || port.find_first_not_of("0123456789") != std::string_view::npos) {
    return std::nullopt;
  }
  if (!port.empty()) result.port = port;
  return result;
}

}  // namespace pgvigil::api
