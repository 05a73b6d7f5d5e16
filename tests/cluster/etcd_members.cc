#include "cluster/etcd_members.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

namespace pgvigil::testing {
namespace {

// Bound all at once, so that no two are equal.
std::vector<int> free_ports(int count) {
  std::vector<postgres::Fd> sockets;
  std::vector<int> ports;
  for (int i = 0; i < count; ++i) {
    sockets.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    const int fd = sockets.back().get();
    EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), length), 0);
    EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length), 0);
    ports.push_back(ntohs(address.sin_port));
  }
  return ports;
}

postgres::Fd create_file(const std::string& path) {
  return postgres::Fd(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
}

std::string loopback(int port) { return "127.0.0.1:" + std::to_string(port); }

}  // namespace

int run_program(const std::vector<std::string>& argv, const std::string& output_file) {
  const auto output = create_file(output_file);
  postgres::SpawnOptions options;
  options.argv = argv;
  options.environment = postgres::child_environment({{"ETCDCTL_API", "3"}});
  options.out = options.err = output.get();
  auto started = postgres::spawn(options);
  if (!started) {
    ADD_FAILURE() << started.error().message();
    return -1;
  }
  int status = 0;
  waitpid(started->pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

EtcdMembers::EtcdMembers(EtcdSettings settings) : settings_(std::move(settings)) {
  std::string path = "/tmp/pgvigil-etcd-test-XXXXXX";
  directory_ = mkdtemp(path.data());
  const auto ports = free_ports(2 * settings_.members);
  for (int i = 0; i < settings_.members; ++i) {
    Member member;
    member.client_port = ports[static_cast<std::size_t>(2 * i)];
    member.peer_port = ports[static_cast<std::size_t>(2 * i + 1)];
    members_.push_back(std::move(member));
  }
  if (settings_.tls) make_certificates();
  for (int i = 0; i < settings_.members; ++i) start(i);
  wait_healthy();
}

EtcdMembers::~EtcdMembers() {
  for (int i = 0; i < settings_.members; ++i) kill(i);
  std::filesystem::remove_all(directory_);
}

std::vector<std::string> EtcdMembers::endpoints() const {
  std::vector<std::string> all;
  for (int i = 0; i < settings_.members; ++i) all.push_back(endpoint(i));
  return all;
}

std::string EtcdMembers::endpoint(int member) const {
  return loopback(members_[static_cast<std::size_t>(member)].client_port);
}

void EtcdMembers::start(int member) {
  const std::string scheme = settings_.tls ? "https://" : "http://";
  const std::string name = "e" + std::to_string(member);
  auto& chosen = members_[static_cast<std::size_t>(member)];
  const std::string client = scheme + loopback(chosen.client_port), peer = "http://" + loopback(chosen.peer_port);
  std::string cluster;
  for (std::size_t i = 0; i < members_.size(); ++i) {
    cluster += (i > 0 ? ",e" : "e") + std::to_string(i) + "=http://" + loopback(members_[i].peer_port);
  }
  postgres::SpawnOptions options;
  options.argv = {"/usr/bin/etcd",
                  "--name",
                  name,
                  "--data-dir",
                  directory_ + "/" + name,
                  "--listen-client-urls",
                  client,
                  "--advertise-client-urls",
                  client,
                  "--listen-peer-urls",
                  peer,
                  "--initial-advertise-peer-urls",
                  peer,
                  "--initial-cluster",
                  cluster,
                  "--heartbeat-interval",
                  "100",
                  "--election-timeout",
                  "1000",
                  "--unsafe-no-fsync"};
  if (settings_.tls) {
    for (const char* more :
         {"--client-cert-auth", "--trusted-ca-file", "ca.crt", "--cert-file", "etcd.crt", "--key-file", "etcd.key"}) {
      options.argv.push_back(*more == '-' ? std::string(more) : directory_ + "/" + more);
    }
  }
  options.argv.insert(options.argv.end(), settings_.arguments.begin(), settings_.arguments.end());
  options.environment = postgres::child_environment();
  const auto log = create_file(directory_ + "/" + name + ".log");
  options.out = options.err = log.get();
  options.dies_with_us = true;
  auto started = postgres::spawn(options);
  ASSERT_TRUE(started) << started.error().message();
  chosen.process = std::move(*started);
}

void EtcdMembers::signal(int member, int number) {
  const auto& process = members_[static_cast<std::size_t>(member)].process;
  if (process.pid > 0) ::kill(process.pid, number);
}

void EtcdMembers::kill(int member) {
  auto& process = members_[static_cast<std::size_t>(member)].process;
  if (process.pid <= 0) return;
  ::kill(process.pid, SIGKILL);
  waitpid(process.pid, nullptr, 0);
  process = {};
}

void EtcdMembers::wait_healthy() {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  std::string output;
  // A member that starts answers nothing yet; etcdctl has no way of its own to wait for it.
  while (run_ctl({"endpoint", "health"}, output) != 0) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline) << output;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

int EtcdMembers::run_ctl(const std::vector<std::string>& arguments, std::string& output) {
  std::string all;
  for (const auto& endpoint : endpoints()) all += (all.empty() ? "" : ",") + endpoint;
  std::vector<std::string> argv{"/usr/bin/etcdctl", "--endpoints", all, "--command-timeout", "30s"};
  if (settings_.tls) {
    argv.insert(argv.end(), {"--cacert", directory_ + "/ca.crt", "--cert", directory_ + "/client.crt", "--key",
                             directory_ + "/client.key"});
  }
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  const std::string file = directory_ + "/etcdctl.out";
  std::filesystem::remove(file);
  const int status = run_program(argv, file);
  std::ifstream stream(file);
  output.assign(std::istreambuf_iterator<char>(stream), {});
  return status;
}

std::string EtcdMembers::ctl(const std::vector<std::string>& arguments) {
  std::string output;
  EXPECT_EQ(run_ctl(arguments, output), 0) << arguments.front() << ": " << output;
  return output;
}

// An authority for these members, and a second one that they do not know.
void EtcdMembers::make_certificates() {
  const std::string script = R"(set -e; cd "$0"
authority() { openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$1" -keyout $1.key -out $1.crt; }
issue() {
  openssl req -newkey rsa:2048 -nodes -subj "/CN=$2" -keyout $2.key -out $2.csr
  printf 'subjectAltName=IP:127.0.0.1\n' > $2.ext
  openssl x509 -req -days 2 -in $2.csr -CA $1.crt -CAkey $1.key -CAcreateserial -extfile $2.ext -out $2.crt
}
authority ca; authority stranger
issue ca etcd; issue ca client; issue stranger intruder)";
  ASSERT_EQ(run_program({"/bin/sh", "-c", script, directory_}, directory_ + "/openssl.log"), 0);
}

}  // namespace pgvigil::testing
