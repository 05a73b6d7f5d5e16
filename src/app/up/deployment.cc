#include "app/up/deployment.h"

#include <openssl/rand.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "app/up/certificates.h"
#include "app/up/pooler.h"
#include "postgres/conf_files.h"

namespace pgvigil::app {
namespace {

constexpr const char* kToken = "etcd-cluster-shudl";

std::string newest_server() {
  std::string best;
  int version = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/usr/lib/postgresql", error)) {
    const int number = std::atoi(entry.path().filename().c_str());
    if (number > version && access((entry.path() / "bin/postgres").c_str(), X_OK) == 0) {
      version = number;
      best = entry.path() / "bin";
    }
  }
  return best;
}

Part etcd_member(const Deployment& deployment, int number, std::uint16_t client, std::uint16_t peer) {
  Part part;
  part.name = fmt::format("etcd-{}", number);
  part.kind = "etcd";
  part.directory = deployment.directory + "/" + part.name;
  part.data = part.directory + "/data";
  part.log = part.directory + "/etcd.log";
  part.pid_file = part.directory + "/pid";
  part.ports = {{"client", client}, {"peer", peer}};
  return part;
}

void complete_etcd(Deployment& deployment) {
  std::string peers;
  for (const auto& part : deployment.parts) {
    if (part.kind != "etcd") continue;
    peers += fmt::format("{}{}=https://localhost:{}", peers.empty() ? "" : ",", part.name, part.port("peer"));
  }
  const std::string certs = deployment.certificates();
  for (auto& part : deployment.parts) {
    if (part.kind != "etcd") continue;
    const std::string cert = certs + "/" + part.name + ".crt";
    const std::string key = certs + "/" + part.name + ".key";
    part.argv = {"/usr/bin/etcd",
                 "--name",
                 part.name,
                 "--data-dir",
                 part.data,
                 "--listen-client-urls",
                 fmt::format("https://127.0.0.1:{}", part.port("client")),
                 "--advertise-client-urls",
                 fmt::format("https://localhost:{}", part.port("client")),
                 "--listen-peer-urls",
                 fmt::format("https://127.0.0.1:{}", part.port("peer")),
                 "--initial-advertise-peer-urls",
                 fmt::format("https://localhost:{}", part.port("peer")),
                 "--initial-cluster",
                 peers,
                 "--initial-cluster-token",
                 kToken,
                 "--initial-cluster-state",
                 "new",
                 "--client-cert-auth",
                 "--trusted-ca-file",
                 certs + "/ca.crt",
                 "--cert-file",
                 cert,
                 "--key-file",
                 key,
                 "--peer-client-cert-auth",
                 "--peer-trusted-ca-file",
                 certs + "/ca.crt",
                 "--peer-cert-file",
                 cert,
                 "--peer-key-file",
                 key,
                 "--auto-compaction-mode",
                 "revision",
                 "--auto-compaction-retention",
                 "1000"};
  }
}

Part node(const Deployment& deployment, int number, std::uint16_t postgresql, std::uint16_t rest) {
  Part part;
  part.name = fmt::format("postgresql-patroni-{}", number);
  part.kind = "agent";
  part.directory = deployment.directory + "/" + part.name;
  part.data = part.directory + "/data";
  part.config = part.directory + "/patroni.yml";
  part.log = part.directory + "/agent.log";
  part.pid_file = part.directory + "/pid";
  part.ports = {{"postgresql", postgresql}, {"rest", rest}};
  part.argv = {deployment.directory + "/bin/pgvigil", "agent", part.config};
  return part;
}

Part pooler(const Deployment& deployment, std::uint16_t writes, std::uint16_t reads) {
  Part part;
  part.name = "pgbouncer";
  part.kind = "pooler";
  part.directory = deployment.directory + "/" + part.name;
  part.config = part.directory + "/pgbouncer.ini";
  part.log = part.directory + "/pooler.log";
  part.pid_file = part.directory + "/pid";
  part.ports = {{"writes", writes}, {"reads", reads}};
  part.argv = {deployment.directory + "/bin/pgvigil", "pool", part.config};
  return part;
}

std::string etcd_section(const Deployment& deployment) {
  const std::string hosts = etcd_hosts(deployment);
  const std::string certs = deployment.certificates();
  return fmt::format(
      "etcd3:\n  hosts: [{}]\n  protocol: https\n  cacert: {}/ca.crt\n  cert: {}/client.crt\n  key: {}/client.key\n",
      hosts, certs, certs, certs);
}

std::string node_config(const Deployment& deployment, const Part& part, const std::string& server_bin) {
  const std::string certs = deployment.certificates();
  const std::string secrets = deployment.secrets();
  std::string text = fmt::format(
      "# Made by `pgvigil up`. Settings of the whole cluster are in etcd: pgvigil edit-config.\n"
      "scope: {}\nname: {}\n\n"
      "restapi:\n  listen: 127.0.0.1:{}\n  connect_address: localhost:{}\n\n",
      kDeploymentScope, part.name, part.port("rest"), part.port("rest"));
  text += etcd_section(deployment);
  text += fmt::format(
      "\nbootstrap:\n  dcs:\n    ttl: 30\n    loop_wait: 10\n    retry_timeout: 10\n    maximum_lag_on_failover: "
      "1048576\n"
      "    postgresql:\n      use_pg_rewind: true\n      use_slots: true\n      parameters:\n"
      "        archive_mode: 'on'\n"
      "        archive_command: 'test -f {0}/archive/%f || (cp %p {0}/archive/%f.part && mv {0}/archive/%f.part "
      "{0}/archive/%f)'\n"
      "        wal_keep_size: 128MB\n        shared_buffers: 64MB\n"
      "  initdb:\n  - encoding: UTF8\n  - data-checksums\n",
      deployment.directory);
  const auto user = [&](const char* role, const char* name) {
    return fmt::format(
        "    {}:\n      username: {}\n      password_file: {}/{}\n      sslmode: verify-ca\n      sslrootcert: "
        "{}/ca.crt\n",
        role, name, secrets, role, certs);
  };
  text += fmt::format(
      "\npostgresql:\n  listen: 127.0.0.1:{0}\n  connect_address: localhost:{0}\n  data_dir: {1}\n  bin_dir: {2}\n"
      "  pgpass: {3}/pgpass\n  authentication:\n",
      part.port("postgresql"), part.data, server_bin, part.directory);
  text += user("superuser", "postgres") + user("replication", "replicator");
  text += fmt::format(
      "  parameters:\n    ssl: 'on'\n    ssl_cert_file: {0}/postgresql.crt\n    ssl_key_file: {0}/postgresql.key\n"
      "    ssl_ca_file: {0}/ca.crt\n    unix_socket_directories: {1}\n"
      "  pg_hba:\n  - local all postgres peer\n  - hostssl replication replicator 127.0.0.1/32 scram-sha-256\n"
      "  - hostssl all all 127.0.0.1/32 scram-sha-256\n  - hostssl all all ::1/128 scram-sha-256\n",
      certs, part.directory);
  return text;
}

std::string random_password() {
  constexpr std::string_view letters = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
  unsigned char bytes[28];
  if (RAND_bytes(bytes, sizeof bytes) != 1) PGV_ASSERT(false);
  std::string text;
  for (const unsigned char byte : bytes) text += letters[byte % letters.size()];
  return text;
}

Result<std::string> ensure_password(const std::string& path) {
  std::ifstream file(path);
  std::string text;
  if (file && std::getline(file, text) && !text.empty()) return text;
  text = random_password();
  PGV_TRY_VOID(postgres::replace_file(path, text + "\n", 0600));
  return text;
}

Result<void> write_json(const Deployment& deployment) {
  nlohmann::ordered_json json;
  json["scope"] = kDeploymentScope;
  json["directory"] = deployment.directory;
  json["port_offset"] = deployment.port_offset;
  json["processes"] = nlohmann::ordered_json::array();
  for (const auto& part : deployment.parts) {
    nlohmann::ordered_json entry{{"name", part.name}, {"kind", part.kind}, {"pid_file", part.pid_file}};
    for (const auto& [purpose, port] : part.ports) entry["ports"][purpose] = port;
    entry["config"] = part.config;
    entry["data_directory"] = part.data;
    entry["log"] = part.log;
    entry["command"] = part.argv;
    json["processes"].push_back(std::move(entry));
  }
  PGV_TRY_VOID(postgres::replace_file(deployment.directory + "/cluster.json", json.dump(2) + "\n", 0600));
  return {};
}

}  // namespace

std::string etcd_hosts(const Deployment& deployment) {
  std::string hosts;
  for (const auto& part : deployment.parts) {
    if (part.kind == "etcd") hosts += fmt::format("{}localhost:{}", hosts.empty() ? "" : ", ", part.port("client"));
  }
  return hosts;
}

std::uint16_t Part::port(const std::string& purpose) const {
  const auto found = std::find_if(ports.begin(), ports.end(), [&](const auto& p) { return p.first == purpose; });
  return found == ports.end() ? std::uint16_t{0} : found->second;
}

Deployment plan_deployment(const std::string& directory, int port_offset) {
  Deployment deployment;
  deployment.directory = directory;
  deployment.port_offset = static_cast<std::uint16_t>(port_offset);
  const auto port = [port_offset](int number) { return static_cast<std::uint16_t>(number + port_offset); };
  deployment.parts = {
      etcd_member(deployment, 1, port(2379), port(2380)),   etcd_member(deployment, 2, port(23791), port(23801)),
      etcd_member(deployment, 3, port(23792), port(23802)), node(deployment, 1, port(5432), port(8008)),
      node(deployment, 2, port(5433), port(8009)),          pooler(deployment, port(6432), port(6433))};
  complete_etcd(deployment);
  return deployment;
}

Result<void> write_deployment(const Deployment& deployment) {
  const std::string server_bin = newest_server();
  if (server_bin.empty()) {
    return fail(Errc::NotFound, "no PostgreSQL server is installed", "/usr/lib/postgresql", {},
                "apt-get install postgresql");
  }
  std::error_code error;
  for (const auto& path : {deployment.certificates(), deployment.secrets(), deployment.directory + "/archive"}) {
    std::filesystem::create_directories(path, error);
    if (error)
      return fail(Errc::Failed, "cannot create a directory", path, error.message(), "choose another one with --dir");
    std::filesystem::permissions(path, std::filesystem::perms::owner_all, error);
  }
  PGV_TRY_VOID(ensure_authority(deployment.certificates()));
  const std::vector<std::string> hosts{"localhost", "127.0.0.1"};
  for (const auto* name : {"etcd-1", "etcd-2", "etcd-3", "postgresql", "client"}) {
    PGV_TRY_VOID(ensure_certificate(deployment.certificates(), name, hosts));
  }
  PGV_TRY(superuser, ensure_password(deployment.secrets() + "/superuser"));
  PGV_TRY_VOID(ensure_password(deployment.secrets() + "/replication"));
  PGV_TRY_VOID(postgres::replace_file(deployment.directory + "/pgpass", "*:*:*:postgres:" + superuser + "\n", 0600));
  for (const auto& part : deployment.parts) {
    std::filesystem::create_directories(part.directory, error);
    if (error) return fail(Errc::Failed, "cannot create a directory", part.directory, error.message());
    std::filesystem::permissions(part.directory, std::filesystem::perms::owner_all, error);
    if (part.kind == "etcd") std::filesystem::create_directories(part.data, error);
    if (part.kind == "etcd") std::filesystem::permissions(part.data, std::filesystem::perms::owner_all, error);
    if (part.kind == "pooler") PGV_TRY_VOID(write_pooler(deployment, part, Secret(superuser)));
    if (part.kind == "agent")
      PGV_TRY_VOID(postgres::replace_file(part.config, node_config(deployment, part, server_bin), 0600));
  }
  const std::string ctl = fmt::format("# For pgvigil list and the other commands.\nscope: {}\n{}", kDeploymentScope,
                                      etcd_section(deployment));
  PGV_TRY_VOID(postgres::replace_file(deployment.directory + "/ctl.yml", ctl, 0600));
  return write_json(deployment);
}

pid_t running_pid(const Deployment& deployment, const Part& part) {
  std::ifstream file(part.pid_file);
  pid_t pid = 0;
  if (!(file >> pid) || pid <= 1) return 0;
  std::ifstream command(fmt::format("/proc/{}/cmdline", pid), std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(command), {});
  return text.find(deployment.directory) != std::string::npos ? pid : 0;
}

Result<Deployment> read_deployment(const std::string& directory) {
  std::ifstream file(directory + "/cluster.json");
  if (!file) {
    return fail(Errc::NotFound, "no deployment", directory, {},
                "make one with pgvigil up, or name its directory with --dir");
  }
  const std::string text(std::istreambuf_iterator<char>(file), {});
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("port_offset")) {
    return fail(Errc::InvalidConfig, "cannot read the deployment", directory + "/cluster.json");
  }
  return plan_deployment(directory, json["port_offset"].get<int>());
}

}  // namespace pgvigil::app
