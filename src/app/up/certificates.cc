#include "app/up/certificates.h"

#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <memory>

#include "postgres/conf_files.h"

namespace pgvigil::app {
namespace {

constexpr long kTenYears = 3650L * 24 * 3600;

template <class T, void (*Free)(T*)>
struct Deleter {
  void operator()(T* object) const { Free(object); }
};
void free_bio(BIO* bio) { BIO_free(bio); }
using Key = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY, EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Deleter<X509, X509_free>>;
using Bio = std::unique_ptr<BIO, Deleter<BIO, free_bio>>;

tl::unexpected<Error> openssl_failure(const char* what) {
  char text[256] = "";
  ERR_error_string_n(ERR_get_error(), text, sizeof text);
  return fail(Errc::Failed, what, {}, text);
}

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long length = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(length)};
}

bool add_extension(X509* certificate, X509* issuer, int kind, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str());
  if (extension == nullptr) return false;
  const bool added = X509_add_ext(certificate, extension, -1) == 1;
  X509_EXTENSION_free(extension);
  return added;
}

Certificate new_certificate(EVP_PKEY* key, const std::string& name) {
  Certificate certificate(X509_new());
  X509_set_version(certificate.get(), X509_VERSION_3);
  unsigned char serial[8];
  RAND_bytes(serial, sizeof serial);
  serial[0] = static_cast<unsigned char>((serial[0] & 0x7F) | 0x40);
  BIGNUM* number = BN_bin2bn(serial, sizeof serial, nullptr);
  BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate.get()));
  BN_free(number);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -300);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), kTenYears);
  X509_set_pubkey(certificate.get(), key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  return certificate;
}

Result<void> save(const std::string& base, EVP_PKEY* key, X509* certificate) {
  const Bio key_text(BIO_new(BIO_s_mem()));
  const Bio certificate_text(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_PrivateKey(key_text.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1 ||
      PEM_write_bio_X509(certificate_text.get(), certificate) != 1) {
    return openssl_failure("cannot write a certificate");
  }
  PGV_TRY_VOID(postgres::replace_file(base + ".key", text_of(key_text.get()), 0600));
  PGV_TRY_VOID(postgres::replace_file(base + ".crt", text_of(certificate_text.get()), 0644));
  return {};
}

bool exists(const std::string& base) {
  return access((base + ".crt").c_str(), R_OK) == 0 && access((base + ".key").c_str(), R_OK) == 0;
}

bool is_address(const std::string& host) {
  return host.find(':') != std::string::npos || host.find_first_not_of("0123456789.") == std::string::npos;
}

}  // namespace

Result<void> ensure_authority(const std::string& directory) {
  const std::string base = directory + "/ca";
  if (exists(base)) return {};
  const Key key(EVP_EC_gen("P-256"));
  if (!key) return openssl_failure("cannot make a key");
  const Certificate certificate = new_certificate(key.get(), "pgvigil local authority");
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(certificate.get()));
  X509* self = certificate.get();
  if (!add_extension(self, self, NID_basic_constraints, "critical,CA:TRUE") ||
      !add_extension(self, self, NID_key_usage, "critical,keyCertSign,cRLSign") ||
      !add_extension(self, self, NID_subject_key_identifier, "hash") || X509_sign(self, key.get(), EVP_sha256()) == 0) {
    return openssl_failure("cannot make the authority's certificate");
  }
  return save(base, key.get(), self);
}

Result<void> ensure_certificate(const std::string& directory, const std::string& name,
                                const std::vector<std::string>& hosts) {
  const std::string base = directory + "/" + name;
  if (exists(base)) return {};
  std::FILE* authority_key_file = std::fopen((directory + "/ca.key").c_str(), "re");
  std::FILE* authority_file = std::fopen((directory + "/ca.crt").c_str(), "re");
  const Key authority_key(
      authority_key_file != nullptr ? PEM_read_PrivateKey(authority_key_file, nullptr, nullptr, nullptr) : nullptr);
  const Certificate authority(authority_file != nullptr ? PEM_read_X509(authority_file, nullptr, nullptr, nullptr)
                                                        : nullptr);
  if (authority_key_file != nullptr) std::fclose(authority_key_file);
  if (authority_file != nullptr) std::fclose(authority_file);
  if (!authority_key || !authority) return openssl_failure("cannot read the authority's certificate");
  const Key key(EVP_EC_gen("P-256"));
  if (!key) return openssl_failure("cannot make a key");
  const Certificate certificate = new_certificate(key.get(), name);
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(authority.get()));
  std::string names;
  for (const auto& host : hosts)
    names += (names.empty() ? "" : ",") + std::string(is_address(host) ? "IP:" : "DNS:") + host;
  if (!add_extension(certificate.get(), authority.get(), NID_basic_constraints, "critical,CA:FALSE") ||
      !add_extension(certificate.get(), authority.get(), NID_ext_key_usage, "serverAuth,clientAuth") ||
      !add_extension(certificate.get(), authority.get(), NID_subject_alt_name, names) ||
      X509_sign(certificate.get(), authority_key.get(), EVP_sha256()) == 0) {
    return openssl_failure("cannot make a certificate");
  }
  return save(base, key.get(), certificate.get());
}

}  // namespace pgvigil::app
