// What a handshake came to: the text of SHOW CLIENTS, the peer's names, channel binding.
#include <arpa/inet.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cctype>
#include <string_view>

#include "netio/tls_session.h"

namespace pgvigil::netio {

namespace {

std::string exchange_text(SSL* ssl) {
  const int kind = SSL_CIPHER_get_kx_nid(SSL_get_current_cipher(ssl));
  if (kind == NID_kx_ecdhe || kind == NID_kx_ecdhe_psk || kind == NID_kx_any) {
    const auto group = SSL_get_negotiated_group(ssl);
    const char* name = group > 0 ? OBJ_nid2sn(static_cast<int>(group)) : nullptr;
    if (name != nullptr) return std::string("/ECDH=") + name;
  } else if (kind == NID_kx_dhe) {
    EVP_PKEY* key = nullptr;
    if (SSL_get_peer_tmp_key(ssl, &key) == 1 || SSL_get_tmp_key(ssl, &key) == 1) {
      std::string text = "/DH=" + std::to_string(EVP_PKEY_get_bits(key));
      EVP_PKEY_free(key);
      return text;
    }
  }
  return {};
}

std::string text_of(const ASN1_STRING* string) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
          static_cast<std::size_t>(ASN1_STRING_length(string))};
}

std::string common_name(const X509* certificate) {
  const X509_NAME* subject = X509_get_subject_name(certificate);
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at < 0) return {};
  unsigned char* utf8 = nullptr;
  const int size = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  if (size < 0) return {};
  std::string name(reinterpret_cast<char*>(utf8), static_cast<std::size_t>(size));
  OPENSSL_free(utf8);
  // A zero byte would make a C reader see another name than the authority signed.
  return name.find('\0') == std::string::npos ? name : std::string();
}

std::vector<std::string> alternative_names(const X509* certificate) {
  std::vector<std::string> names;
  auto* all = static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(all); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(all, i);
    if (name->type == GEN_DNS) {
      std::string text = text_of(name->d.dNSName);
      if (text.find('\0') == std::string::npos) names.push_back(std::move(text));
    } else if (name->type == GEN_IPADD) {
      const std::string bytes = text_of(name->d.iPAddress);
      char text[INET6_ADDRSTRLEN];
      if (bytes.size() != 4 && bytes.size() != 16) continue;
      if (::inet_ntop(bytes.size() == 4 ? AF_INET : AF_INET6, bytes.data(), text, sizeof text))
        names.emplace_back(text);
    }
  }
  GENERAL_NAMES_free(all);
  return names;
}

// RFC 5929, 4.1: the hash of the certificate's own signature, but SHA-256 in place of MD5 and SHA-1. Signatures without
// a single hash (Ed25519) have no binding.
std::string end_point(X509* certificate) {
  int hash = NID_undef;
  if (certificate == nullptr || X509_get_signature_info(certificate, &hash, nullptr, nullptr, nullptr) != 1) return {};
  if (hash == NID_md5 || hash == NID_sha1) hash = NID_sha256;
  const EVP_MD* digest = EVP_get_digestbynid(hash);
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (digest == nullptr || X509_digest(certificate, digest, bytes, &size) != 1) return {};
  return {reinterpret_cast<char*>(bytes), size};
}

bool same_text(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

bool matches(std::string_view pattern, std::string_view name) {
  if (same_text(pattern, name)) return true;
  if (!pattern.starts_with("*.")) return false;
  const std::size_t dot = name.find('.');
  return dot != 0 && dot != std::string_view::npos && pattern.find('.', 2) != std::string_view::npos &&
         same_text(pattern.substr(1), name.substr(dot));
}

}  // namespace

std::unique_ptr<TlsInfo> read_tls_info(ssl_st* ssl, bool server, bool alpn_offered) {
  auto info = std::make_unique<TlsInfo>();
  info->text = std::string(SSL_get_version(ssl)) + "/" + SSL_get_cipher_name(ssl) + exchange_text(ssl);
  const unsigned char* protocol = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl, &protocol, &size);
  info->alpn.assign(reinterpret_cast<const char*>(protocol), size);
  info->alpn_offered = alpn_offered;
  X509* peer = SSL_get1_peer_certificate(ssl);
  if (peer != nullptr) {
    info->peer_certificate = true;
    info->peer_common_name = common_name(peer);
    info->peer_names = alternative_names(peer);
  }
  info->server_end_point = end_point(server ? SSL_get_certificate(ssl) : peer);
  X509_free(peer);
  return info;
}

// The common name counts only where there are no alternative names (RFC 6125, 6.4.4).
bool certificate_names(const TlsInfo& info, const std::string& name) {
  if (!info.peer_certificate || name.empty()) return false;
  if (info.peer_names.empty()) return matches(info.peer_common_name, name);
  return std::any_of(info.peer_names.begin(), info.peer_names.end(),
                     [&](const std::string& known) { return matches(known, name); });
}

}  // namespace pgvigil::netio
