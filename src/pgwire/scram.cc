// The exchange of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS: RFC 5802 sections 5 to 7, RFC 7677, channel binding
// tls-server-end-point by RFC 5929 section 4; PostgreSQL documentation, "SASL Authentication". Where PostgreSQL is
// stricter than the RFC (no authzid, no extensions in the server's messages) so are we.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "pgwire/scram_keys.h"

namespace pgvigil::pgwire {

namespace {

constexpr std::string_view kPlusFlag = "p=tls-server-end-point";
constexpr std::size_t kClientMessageBytesMax = 1024;  // PostgreSQL's PG_MAX_SASL_MESSAGE_LENGTH
constexpr std::size_t kServerMessageBytesMax = 4096;  // twice what libpq before 16 took

tl::unexpected<Error> refused(std::string_view whose, std::string cause) {
  return fail(Errc::Unauthorized, fmt::format("SCRAM message of the {} refused", whose), {}, std::move(cause));
}

// Foreign text may only enter a log line in this form.
std::string printable(std::string_view text) {
  constexpr std::size_t kShown = 64;
  std::string shown(text.substr(0, kShown));
  std::replace_if(
      shown.begin(), shown.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return shown;
}

bool nonce_text(std::string_view nonce) {  // RFC 5802 section 7, `printable`; no comma gets here
  return !nonce.empty() && std::all_of(nonce.begin(), nonce.end(), [](char c) { return c > ' ' && c <= '~'; });
}

// RFC 5802 section 5.1: a message is a list of attributes, a letter and "=" and a value without commas.
class Attributes {
 public:
  explicit Attributes(std::string_view message) : rest_(message) {}
  [[nodiscard]] bool empty() const { return done_; }
  [[nodiscard]] char letter() const { return rest_.size() > 1 && rest_[1] == '=' ? rest_[0] : '\0'; }
  // The value of the next attribute when it has this letter.
  std::optional<std::string_view> take(char expected) {
    if (done_ || letter() != expected) return std::nullopt;
    return take_any().substr(2);
  }
  std::string_view take_any() {
    const auto comma = rest_.find(',');
    const auto taken = rest_.substr(0, comma);
    done_ = comma == std::string_view::npos;
    rest_ = done_ ? std::string_view() : rest_.substr(comma + 1);
    return taken;
  }
  [[nodiscard]] std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
  bool done_ = false;  // not the same as rest_.empty(): a comma at the end opens one more attribute, which is missing
};

bool extension(char letter) {
  return letter != 'm' && ((letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z'));
}

std::optional<Key> to_key(const std::optional<std::string>& bytes) {
  Key key{};
  if (!bytes || bytes->size() != key.size()) return std::nullopt;
  std::copy(bytes->begin(), bytes->end(), key.begin());
  return key;
}

}  // namespace

std::string scram_nonce() { return base64(random_bytes(18)); }

ScramServer::ScramServer(ScramSecret secret, std::string channel_binding)
    : secret_(std::move(secret)), channel_binding_(std::move(channel_binding)) {}

Result<std::string> ScramServer::first(std::string_view client_first, bool plus, std::string_view own_nonce) {
  const auto no = [](std::string cause) { return refused("client", std::move(cause)); };
  if (begun_) return no("a second first message");
  begun_ = true;
  if (plus && channel_binding_.empty()) return no("SCRAM-SHA-256-PLUS was not offered");
  if (client_first.size() > kClientMessageBytesMax) return no("too long");
  if (client_first.find('\0') != std::string_view::npos) return no("a zero byte in it");

  // gs2-header, RFC 5802 section 7: flag "," [authzid] ","
  const auto flag_end = client_first.find(',');
  if (flag_end == std::string_view::npos) return no("no gs2 header");
  const auto flag = client_first.substr(0, flag_end);
  if (plus) {
    if (!flag.starts_with("p=")) return no("SCRAM-SHA-256-PLUS chosen, but no channel bound");
    if (flag != kPlusFlag) return no("unsupported channel binding " + printable(flag.substr(2)));
  } else if (flag == "y") {
    // "y": the client could bind a channel and believes that we cannot. We offered it, so somebody took it out of the
    // list (RFC 5802 section 6).
    if (!channel_binding_.empty()) return no("the offer of SCRAM-SHA-256-PLUS did not reach the client");
  } else if (flag.starts_with("p=")) {
    return no("channel bound, but SCRAM-SHA-256-PLUS not chosen");
  } else if (flag != "n") {
    return no("unknown channel binding flag");
  }
  const auto authzid_end = client_first.find(',', flag_end + 1);
  if (authzid_end == std::string_view::npos) return no("no gs2 header");
  if (authzid_end != flag_end + 1) return no("authorization identities are not supported");

  const auto bare = client_first.substr(authzid_end + 1);
  Attributes attributes(bare);
  if (attributes.letter() == 'm') return no("it requires an extension");
  if (!attributes.take('n')) return no("no user name");  // its value does not count: the startup packet named the user
  const auto client_nonce = attributes.take('r');
  if (!client_nonce || !nonce_text(*client_nonce)) return no("no usable nonce");
  while (!attributes.empty()) {
    if (!extension(attributes.letter())) return no("malformed extension");
    attributes.take_any();
  }

  plus_ = plus;
  gs2_header_ = client_first.substr(0, authzid_end + 1);
  client_first_bare_ = bare;
  nonce_ = std::string(*client_nonce).append(own_nonce);
  server_first_ = fmt::format("r={},s={},i={}", nonce_, base64(secret_.salt), secret_.iterations);
  return server_first_;
}

Result<std::string> ScramServer::final(std::string_view client_final) {
  const auto no = [](std::string cause) { return refused("client", std::move(cause)); };
  const auto server_first = std::exchange(server_first_, {});
  if (server_first.empty()) return no("a final message without its first one, or a second one");
  if (client_final.size() > kClientMessageBytesMax) return no("too long");

  Attributes attributes(client_final);
  const auto binding = attributes.take('c');
  if (!binding) return no("no channel binding attribute");
  // RFC 5802 section 7, cbind-input: what the client said at first, and its channel as it sees it.
  if (!equal_constant_time(*binding, base64(plus_ ? gs2_header_ + channel_binding_ : gs2_header_))) {
    return no(plus_ ? "its channel is not ours: somebody is in between" : "channel binding differs from its first one");
  }
  const auto nonce = attributes.take('r');
  if (!nonce || *nonce != nonce_) return no("the nonce does not match");
  while (attributes.letter() != 'p') {
    if (!extension(attributes.letter())) return no("no proof");
    attributes.take_any();
  }
  const auto without_proof = client_final.substr(0, client_final.size() - attributes.rest().size() - 1);
  const auto proof = to_key(base64_decode(*attributes.take('p')));
  if (!proof || !attributes.empty()) return no("malformed proof");

  const auto auth_message = fmt::format("{},{},{}", client_first_bare_, server_first, without_proof);
  auto client_key = exclusive_or(*proof, hmac_sha256(view(secret_.stored_key), auth_message));
  const bool right = equal_constant_time(view(sha256(view(client_key))), view(secret_.stored_key));
  if (right) proven_ = {client_key, secret_.server_key};
  wipe(client_key);
  if (!right) return fail(Errc::Unauthorized, "SCRAM proof refused", {}, "wrong password, or no such user");
  return "v=" + base64(view(hmac_sha256(view(secret_.server_key), auth_message)));
}

ScramClient::ScramClient(Secret password, std::string channel_binding)
    : password_(std::move(password)), channel_binding_(std::move(channel_binding)) {}

ScramClient::ScramClient(const ScramKeys& keys, std::string channel_binding)
    : keys_(keys), channel_binding_(std::move(channel_binding)) {}

std::string ScramClient::gs2_header() const { return std::string(channel_binding_.empty() ? "n" : kPlusFlag) + ",,"; }

std::string ScramClient::first(std::string nonce) {
  nonce_ = std::move(nonce);
  client_first_bare_ = "n=,r=" + nonce_;  // PostgreSQL takes the user name of the startup packet
  return gs2_header() + client_first_bare_;
}

Result<ScramKeys> ScramClient::keys_for(std::string_view salt, std::uint32_t iterations) const {
  if (keys_) return *keys_;
  if (iterations > kScramIterationsMax) {
    return refused("server", fmt::format("it asks for {} iterations, more than {}", iterations, kScramIterationsMax));
  }
  return derive_keys(password_.reveal(), salt, iterations);
}

Result<std::string> ScramClient::final(std::string_view server_first) {
  const auto no = [](std::string cause) { return refused("server", std::move(cause)); };
  if (client_first_bare_.empty()) return no("it came before ours");
  if (!auth_message_.empty()) return no("a second first message");
  if (server_first.size() > kServerMessageBytesMax) return no("too long");

  Attributes attributes(server_first);
  const auto nonce = attributes.take('r');
  // Its own part may not be missing: the exchange could then be a replay (RFC 5802 section 5.1, attribute r).
  if (!nonce || !nonce_text(*nonce) || !nonce->starts_with(nonce_) || nonce->size() == nonce_.size()) {
    return no("its nonce does not extend ours");
  }
  const auto salt_text = attributes.take('s');
  const auto salt = base64_decode(salt_text.value_or(std::string_view()));
  if (!salt || salt->empty()) return no("no salt");
  const auto count = attributes.take('i').value_or(std::string_view());
  std::uint32_t iterations = 0;
  const auto [end, error] = std::from_chars(count.data(), count.data() + count.size(), iterations);
  if (error != std::errc() || end != count.data() + count.size() || iterations == 0) return no("no iteration count");
  if (!attributes.empty()) return no("something follows the iteration count");

  PGV_TRY(keys, keys_for(*salt, iterations));
  used_ = keys;
  const auto without_proof = fmt::format("c={},r={}", base64(gs2_header() + channel_binding_), *nonce);
  auth_message_ = fmt::format("{},{},{}", client_first_bare_, server_first, without_proof);
  const auto stored_key = sha256(view(used_.client_key));
  const auto proof = exclusive_or(used_.client_key, hmac_sha256(view(stored_key), auth_message_));
  return fmt::format("{},p={}", without_proof, base64(view(proof)));
}

Result<void> ScramClient::verify(std::string_view server_final) {
  const auto no = [](std::string cause) { return refused("server", std::move(cause)); };
  if (auth_message_.empty()) return no("it came before our proof");
  if (server_final.size() > kServerMessageBytesMax) return no("too long");
  Attributes attributes(server_final);
  if (const auto error = attributes.take('e')) return no("it reports " + printable(*error));
  const auto text = attributes.take('v');
  const auto signature = to_key(base64_decode(text.value_or(std::string_view())));
  if (!signature || !attributes.empty()) return no("malformed signature");
  if (!equal_constant_time(view(*signature), view(hmac_sha256(view(used_.server_key), auth_message_)))) {
    return no("it cannot sign: it does not know this password");
  }
  return {};
}

}  // namespace pgvigil::pgwire
