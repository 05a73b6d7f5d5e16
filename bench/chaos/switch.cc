// pgvigil-chaos-switch SEED NAME=NETNS... : the network between the hosts of a chaos run.
//
// Every host is a network namespace with one TUN device, link0, and this program carries the IPv4 packets between them.
// So it can drop, lose and delay them by direction and port on any kernel, also one without netem. NETNS is a file as
// in /run/netns, or "self" for the namespace that the switch runs in. Addresses: the last octet of a host is its place
// in the list, from 1.
//
// Commands come by lines on standard input, each answered by "ok" or "error ...":
//   set ID FROM TO PORT DROP_PERMILLE DELAY_MS JITTER_MS    "*" for any host, 0 for any port (source or destination)
//   clear ID
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <map>
#include <queue>
#include <random>
#include <sstream>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kPacketMax = 65536;
constexpr std::size_t kQueuedMax = 20'000;  // what a link holds; more is lost, as on a real one
constexpr int kAny = -1;

struct Host {
  std::string name;
  int tun = -1;
};

struct Rule {
  int from = kAny;
  int to = kAny;
  int port = 0;
  int drop_permille = 0;
  std::chrono::milliseconds delay{0};
  int jitter_ms = 0;
};

struct Packet {
  Clock::time_point due;
  std::uint64_t order = 0;
  int to = 0;
  std::vector<char> bytes;
  bool operator<(const Packet& other) const {  // for a heap whose top is due first
    return due != other.due ? due > other.due : order > other.order;
  }
};

int open_tun(const std::string& netns) {
  const int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  if (netns != "self") {
    const int there = open(netns.c_str(), O_RDONLY | O_CLOEXEC);
    if (there < 0 || setns(there, CLONE_NEWNET) != 0) return -1;
    close(there);
  }
  const int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  ifreq request{};
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  std::strcpy(request.ifr_name, "link0");
  const bool made = fd >= 0 && ioctl(fd, TUNSETIFF, &request) == 0;
  if (setns(home, CLONE_NEWNET) != 0) return -1;
  close(home);
  return made ? fd : -1;
}

class Switch {
 public:
  explicit Switch(unsigned long seed) : random_(seed) {}

  bool add_host(const std::string& name, const std::string& netns) {
    hosts_.push_back({name, open_tun(netns)});
    return hosts_.back().tun >= 0;
  }

  void run() {
    std::vector<pollfd> entries(hosts_.size() + 1);
    while (true) {
      for (std::size_t i = 0; i < hosts_.size(); ++i) entries[i] = {hosts_[i].tun, POLLIN, 0};
      entries.back() = {STDIN_FILENO, POLLIN, 0};
      const timespec wait = until_due();
      if (ppoll(entries.data(), entries.size(), queue_.empty() ? nullptr : &wait, nullptr) < 0) return;
      for (std::size_t i = 0; i < hosts_.size(); ++i) {
        if (entries[i].revents != 0) receive(static_cast<int>(i));
      }
      deliver();
      if (entries.back().revents != 0 && !read_commands()) return;
    }
  }

 private:
  timespec until_due() const {
    if (queue_.empty()) return {};
    const auto left = std::max(Clock::duration::zero(), queue_.top().due - Clock::now());
    const auto nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(left).count();
    return {nanoseconds / 1'000'000'000, nanoseconds % 1'000'000'000};
  }

  void receive(int from) {
    static std::array<char, kPacketMax> buffer;
    for (int burst = 0; burst < 64; ++burst) {
      const ssize_t got = read(hosts_[from].tun, buffer.data(), buffer.size());
      if (got < 20 || buffer[0] >> 4 != 4) {
        if (got <= 0) return;
        continue;  // IPv6's own chatter
      }
      const int to = static_cast<unsigned char>(buffer[19]) - 1;
      if (to < 0 || to >= static_cast<int>(hosts_.size())) continue;
      pass(from, to, buffer.data(), static_cast<std::size_t>(got));
    }
  }

  void pass(int from, int to, const char* bytes, std::size_t size) {
    const auto [source, destination] = ports(bytes, size);
    std::chrono::milliseconds delay{0};
    for (const auto& [id, rule] : rules_) {
      if ((rule.from != kAny && rule.from != from) || (rule.to != kAny && rule.to != to)) continue;
      if (rule.port != 0 && rule.port != source && rule.port != destination) continue;
      if (rule.drop_permille > static_cast<int>(random_() % 1000)) return;
      delay += rule.delay;
      if (rule.jitter_ms > 0) delay += std::chrono::milliseconds(random_() % static_cast<unsigned>(rule.jitter_ms));
    }
    auto& last = last_due_[{from, to}];
    const auto now = Clock::now();
    if (delay.count() == 0 && last <= now) {
      send(to, bytes, size);
      return;
    }
    if (queue_.size() >= kQueuedMax) return;
    last = std::max(last, now + delay);  // jitter does not reorder
    queue_.push({last, ++order_, to, std::vector<char>(bytes, bytes + size)});
  }

  static std::pair<int, int> ports(const char* bytes, std::size_t size) {
    const std::size_t header = static_cast<std::size_t>(bytes[0] & 15) * 4;
    const int protocol = bytes[9];
    if ((protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) || size < header + 4) return {0, 0};
    const auto* at = reinterpret_cast<const unsigned char*>(bytes + header);
    return {at[0] << 8 | at[1], at[2] << 8 | at[3]};
  }

  void deliver() {
    const auto now = Clock::now();
    while (!queue_.empty() && queue_.top().due <= now) {
      send(queue_.top().to, queue_.top().bytes.data(), queue_.top().bytes.size());
      queue_.pop();
    }
  }

  void send(int to, const char* bytes, std::size_t size) {
    if (write(hosts_[to].tun, bytes, size) < 0) ++lost_;  // the device is down or full: TCP sends it again
  }

  bool read_commands() {
    std::array<char, 4096> buffer;
    const ssize_t got = read(STDIN_FILENO, buffer.data(), buffer.size());
    if (got <= 0) return false;
    input_.append(buffer.data(), static_cast<std::size_t>(got));
    for (std::size_t end = input_.find('\n'); end != std::string::npos; end = input_.find('\n')) {
      const std::string answer = obey(input_.substr(0, end)) + "\n";
      input_.erase(0, end + 1);
      if (write(STDOUT_FILENO, answer.data(), answer.size()) < 0) return false;
    }
    return true;
  }

  std::string obey(const std::string& line) {
    std::istringstream words(line);
    std::string verb;
    std::string id;
    words >> verb >> id;
    if (verb == "clear" && words) {
      rules_.erase(id);
      return "ok";
    }
    std::string from;
    std::string to;
    Rule rule;
    long delay = 0;
    words >> from >> to >> rule.port >> rule.drop_permille >> delay >> rule.jitter_ms;
    rule.delay = std::chrono::milliseconds(delay);
    if (verb != "set" || !words || !find(from, rule.from) || !find(to, rule.to)) return "error: what is: " + line;
    rules_[id] = rule;
    return "ok";
  }

  bool find(const std::string& name, int& place) const {
    if (name == "*") return true;
    const auto found = std::find_if(hosts_.begin(), hosts_.end(), [&](const Host& host) { return host.name == name; });
    place = static_cast<int>(found - hosts_.begin());
    return found != hosts_.end();
  }

  std::vector<Host> hosts_;
  std::map<std::string, Rule> rules_;
  std::priority_queue<Packet> queue_;
  std::map<std::pair<int, int>, Clock::time_point> last_due_;
  std::mt19937 random_;
  std::uint64_t order_ = 0;
  std::uint64_t lost_ = 0;
  std::string input_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: pgvigil-chaos-switch SEED NAME=NETNS...\n";
    return 2;
  }
  Switch network(std::stoul(argv[1]));
  for (int i = 2; i < argc; ++i) {
    const std::string word = argv[i];
    const std::size_t equals = word.find('=');
    if (equals == std::string::npos || !network.add_host(word.substr(0, equals), word.substr(equals + 1))) {
      std::cerr << "pgvigil-chaos-switch: no TUN device for " << word << ": " << std::strerror(errno)
                << "; it needs root and /dev/net/tun\n";
      return 1;
    }
  }
  if (write(STDOUT_FILENO, "ready\n", 6) != 6) return 1;
  network.run();
  return 0;
}
