#include "app/before_start.h"

#include "dcs/layout.h"
#include "dcs/member_json.h"

namespace pgvigil::app {
namespace {

constexpr Duration kReadMax = std::chrono::seconds(2);
constexpr Duration kAnswerMax = std::chrono::seconds(3);

// "http://10.0.0.1:8008/patroni" -> "http://10.0.0.1:8008"; empty for what is no URL.
std::string server_of(const std::string& url) {
  const auto scheme = url.find("://");
  return scheme == std::string::npos ? std::string() : url.substr(0, url.find('/', scheme + 3));
}

}  // namespace

Task<Result<void>> before_start(Clock& clock, dcs::KvStore& kv, api::PeerClient& peers, Identity self) {
  const std::string key = self.prefix + std::string(dcs::kMembersFolder) + self.name.text();
  const TimePoint deadline = clock.now() + kReadMax;
  const auto read = co_await kv.range(key, std::string(), dcs::Consistency::Serializable, deadline);
  if (!read) {
    if (read.error().code == Errc::Unauthorized) co_return tl::make_unexpected(read.error());
    co_return Result<void>();
  }
  if (read->kvs.empty()) co_return Result<void>();
  const std::string theirs = server_of(dcs::parse_member(self.name, read->kvs.front().value).api_url);
  // Our own address: the key is from before our restart, and whoever answers there is this process.
  if (theirs.empty() || theirs == server_of(self.api_url)) co_return Result<void>();
  api::HttpCall call;
  call.url = theirs + "/liveness";
  call.deadline = clock.now() + kAnswerMax;
  if (const auto reply = co_await peers.request(std::move(call)); reply) {
    co_return fail(Errc::Refused, "another agent has this member's name", self.name.text(), "it answers at " + theirs,
                   "give every member a name of its own");
  }
  co_return Result<void>();
}

}  // namespace pgvigil::app
