#include "unit/netio/certificates.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

namespace pgvigil::netio {

namespace {

EVP_PKEY* make_key() { return EVP_EC_gen("P-256"); }

void extend(X509* certificate, X509* issuer, int kind, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

X509* begin(EVP_PKEY* key, const std::string& common_name, long serial) {
  X509* certificate = X509_new();
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 86400);
  X509_set_pubkey(certificate, key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(common_name.data()),
                             static_cast<int>(common_name.size()), -1, 0);
  return certificate;
}

void write_certificate(const std::string& path, X509* certificate) {
  std::FILE* file = std::fopen(path.c_str(), "w");
  PEM_write_X509(file, certificate);
  std::fclose(file);
}

void write_key(const std::string& path, EVP_PKEY* key) {
  std::FILE* file = std::fopen(path.c_str(), "w");
  PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
  std::fclose(file);
}

}  // namespace

struct Certificates::Authority {
  EVP_PKEY* key = nullptr;
  X509* certificate = nullptr;
  long serial = 1;
};

Certificates::Certificates() : authority_(new Authority) {
  char name[] = "/tmp/netio-tls-XXXXXX";
  if (::mkdtemp(name) == nullptr) std::abort();
  folder_ = name;
  authority_->key = make_key();
  authority_->certificate = begin(authority_->key, "Test Authority", authority_->serial++);
  X509* self = authority_->certificate;
  X509_set_issuer_name(self, X509_get_subject_name(self));
  extend(self, self, NID_basic_constraints, "critical,CA:TRUE");
  X509_sign(self, authority_->key, EVP_sha256());
  write_certificate(path("ca.crt"), self);
}

Certificates::~Certificates() {
  X509_free(authority_->certificate);
  EVP_PKEY_free(authority_->key);
  delete authority_;
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void Certificates::issue(const std::string& name, const std::string& common_name,
                         const std::string& alternative_names) {
  EVP_PKEY* key = make_key();
  X509* certificate = begin(key, common_name, authority_->serial++);
  X509_set_issuer_name(certificate, X509_get_subject_name(authority_->certificate));
  if (!alternative_names.empty()) {
    extend(certificate, authority_->certificate, NID_subject_alt_name, alternative_names.c_str());
  }
  X509_sign(certificate, authority_->key, EVP_sha384());
  write_certificate(path(name + ".crt"), certificate);
  write_key(path(name + ".key"), key);
  X509_free(certificate);
  EVP_PKEY_free(key);
}

}  // namespace pgvigil::netio
