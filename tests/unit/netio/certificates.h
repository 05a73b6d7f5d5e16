// An authority and certificates, made when a test starts.
#pragma once

#include <string>
#include <vector>

namespace pgvigil::netio {

class Certificates {
 public:
  Certificates();
  ~Certificates();
  Certificates(const Certificates&) = delete;
  Certificates& operator=(const Certificates&) = delete;

  // Writes NAME.crt and NAME.key, signed by the authority; alternative names as OpenSSL writes them.
  void issue(const std::string& name, const std::string& common_name, const std::string& alternative_names);
  [[nodiscard]] std::string path(const std::string& file) const { return folder_ + "/" + file; }
  [[nodiscard]] std::string authority() const { return path("ca.crt"); }

 private:
  struct Authority;
  std::string folder_;
  Authority* authority_;
};

}  // namespace pgvigil::netio
