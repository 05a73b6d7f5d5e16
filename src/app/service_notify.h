// Tells the service manager how far we are, where it asked to be told. systemd documentation, sd_notify(3).
#pragma once

#include <string>

namespace pgvigil::app {

class ServiceNotify {
 public:
  // `address`: the value of NOTIFY_SOCKET; empty: nobody wants to know.
  explicit ServiceNotify(std::string address) : address_(std::move(address)) {}

  void ready() const;
  void reloading() const;  // followed by ready()
  void stopping() const;
  void send(const std::string& state) const;  // any assignments of sd_notify(3)

 private:
  std::string address_;
};

}  // namespace pgvigil::app
