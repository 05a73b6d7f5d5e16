// Real etcd members for tests of the adapter: their own directory, free loopback ports, ended by pid.
#pragma once

#include <signal.h>

#include <string>
#include <vector>

#include "postgres/spawn.h"

namespace pgvigil::testing {

struct EtcdSettings {
  int members = 1;
  bool tls = false;                    // the clients' side, client certificates required
  std::vector<std::string> arguments;  // more of etcd's flags
};

class EtcdMembers {
 public:
  explicit EtcdMembers(EtcdSettings settings);
  ~EtcdMembers();
  EtcdMembers(const EtcdMembers&) = delete;
  EtcdMembers& operator=(const EtcdMembers&) = delete;

  [[nodiscard]] std::vector<std::string> endpoints() const;
  [[nodiscard]] std::string endpoint(int member) const;
  [[nodiscard]] const std::string& directory() const { return directory_; }
  void start(int member);
  void kill(int member);
  void signal(int member, int number);
  void wait_healthy();
  // etcdctl with the CA, certificate and endpoints of these members; its output. Fails the test when etcdctl fails.
  std::string ctl(const std::vector<std::string>& arguments);

 private:
  struct Member {
    int client_port = 0, peer_port = 0;
    postgres::Spawned process;
  };
  int run_ctl(const std::vector<std::string>& arguments, std::string& output);
  void make_certificates();

  EtcdSettings settings_;
  std::string directory_;
  std::vector<Member> members_;
};

// Runs a program to its end; the exit status, -1 for a signal. Its output goes to the file.
int run_program(const std::vector<std::string>& argv, const std::string& output_file);

}  // namespace pgvigil::testing
