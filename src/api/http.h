// Requests and replies as values: what the REST interface needs of HTTP, and the exact bytes of its replies.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/json.h"
#include "base/time.h"

namespace pgvigil::api {

struct Target {
  std::string path;                          // undecoded, without query and fragment
  std::string segment;                       // its first part: "patroni" of "/patroni/anything"
  std::map<std::string, std::string> query;  // decoded; the first of each name; names without a value are left out
};
Target parse_target(std::string_view target);

struct Request {
  std::string method;
  Target target;
  bool has_length = false;  // there was a Content-Length
  std::string body;
  std::optional<std::string> authorization;
  std::string peer_address;  // numeric; an IPv4 address that came in over IPv6 is in its IPv4 form
  bool tls = false;
  bool client_certificate = false;  // verified by the handshake
};

struct Reply {
  int status = 200;
  bool bare = false;  // a status line and an empty line, nothing else
  std::string content_type;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  bool error_page = false;
};

Reply status_only(int status);
Reply text_reply(int status, std::string text);
Reply json_reply(int status, const Json& body);
Reply error_page(int status);  // HTML

std::string_view reason_phrase(int status);

struct ReplyStyle {                                                // what does not depend on the request
  std::string server;                                              // value of the Server header
  std::vector<std::pair<std::string, std::string>> extra_headers;  // already chosen by the transport
};

// HTTP/1.0, closed by the end of the connection: no Content-Length on normal replies.
std::string serialize(const Reply& reply, const ReplyStyle& style, WallTime now);

// RFC 9110, 5.6.7: "Sun, 06 Nov 1994 08:49:37 GMT".
std::string http_date(WallTime at);

struct Url {
  bool tls = false;
  std::string host;  // without brackets
  std::string port;
  std::string path;  // with the query; at least "/"
};
// http:// and https:// only.
std::optional<Url> parse_url(std::string_view url);

}  // namespace pgvigil::api
