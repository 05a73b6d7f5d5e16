// The resolver: c-ares driven by the control loop. Documentation: ares_getaddrinfo(3), ares_init_options(3).
#include "pool/resolver.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <netinet/in.h>
#include <sys/time.h>

#include <cstring>
#include <map>
#include <set>
#include <utility>

#include "pool/dns_cache.h"

namespace pgvigil::pool {
namespace {

// A name server that is down costs kTryMillis before the next one is asked; a connection waits for us meanwhile.
constexpr int kTryMillis = 2000;
constexpr int kTries = 3;
constexpr Duration kSweepEvery = std::chrono::minutes(10);

Error error_of(int status, const std::string& name) {
  const bool no_such_name = status == ARES_ENOTFOUND || status == ARES_ENODATA || status == ARES_EBADNAME;
  return {no_such_name              ? Errc::NotFound
          : status == ARES_ETIMEOUT ? Errc::Timeout
                                    : Errc::Unavailable,
          "cannot resolve the host name", name, ares_strerror(status),
          no_such_name ? "" : "look at the name servers in resolv.conf"};
}

std::string zone_of(const std::string& name) {
  const auto dot = name.find('.');
  return dot == std::string::npos ? "" : name.substr(dot + 1);
}

// RFC 1982: serial numbers wrap.
bool newer(std::uint32_t serial, std::uint32_t than) { return static_cast<std::int32_t>(serial - than) > 0; }

class CaresResolver final : public Resolver {
 public:
  explicit CaresResolver(netio::Loop& control) : loop_(control) {}
  ~CaresResolver() override {
    for (const auto& timer : {timeout_, zone_timer_, sweep_timer_}) {
      if (timer) loop_.cancel(*timer);
    }
    timeout_.reset();
    ending_ = true;
    if (channel_ != nullptr) ares_destroy(channel_);
  }

  Result<void> start(const Settings& settings) {
    settings_ = settings;
    cache_.configure(settings.success_kept, settings.failure_kept);
    PGV_TRY(channel, make_channel());
    channel_ = channel;
    plan_zone_check();
    plan_sweep();
    return {};
  }

  void resolve(const std::string& name, netio::Loop& loop, DnsCache::Done done) override {
    loop_.post([this, name, waiter = DnsCache::Waiter{&loop, std::move(done)}]() mutable {
      auto found = cache_.look_up(name, waiter, loop_.now());
      if (found.known) tell(waiter, std::move(found.answer));
      if (found.ask) ask(name);
    });
  }

  void configure(const Settings& settings) override {
    settings_.success_kept = settings.success_kept;
    settings_.failure_kept = settings.failure_kept;
    settings_.zone_check_period = settings.zone_check_period;  // resolv_conf is read at start only
    cache_.configure(settings.success_kept, settings.failure_kept);
    plan_zone_check();
    // A reload reads resolv.conf anew. What is being asked is asked again.
    auto fresh = make_channel();
    if (!fresh) return;
    ares_channel old = std::exchange(channel_, *fresh);
    moving_ = true;
    ares_destroy(old);
    moving_ = false;
    for (const auto& name : std::exchange(ask_again_, {})) ask(name);
  }

  void on_change(std::function<void(const std::string& name, const std::vector<Address>& now)> call) override {
    on_change_ = std::move(call);
  }
  [[nodiscard]] std::vector<HostRow> hosts() const override { return cache_.rows(loop_.now()); }
  [[nodiscard]] std::vector<ZoneRow> zones() const override {
    std::vector<ZoneRow> rows;
    const auto names = cache_.names();
    for (const auto& [zone, serial] : serials_) {
      int count = 0;
      for (const auto& name : names) count += zone_of(name) == zone ? 1 : 0;
      rows.push_back({zone, serial, count});
    }
    return rows;
  }
  [[nodiscard]] std::size_t queries() const override { return cache_.asking(); }

 private:
  struct Question {
    CaresResolver* self;
    std::string name;
  };

  Result<ares_channel> make_channel() {
    ares_options options{};
    options.timeout = kTryMillis;
    options.tries = kTries;
    options.sock_state_cb = [](void* self, ares_socket_t fd, int readable, int writable) {
      static_cast<CaresResolver*>(self)->watch(fd, readable != 0, writable != 0);
    };
    options.sock_state_cb_data = this;
    options.resolvconf_path = settings_.resolv_conf.data();
    options.udp_port = options.tcp_port = settings_.name_server_port;
    int mask = ARES_OPT_UDP_PORT | ARES_OPT_TCP_PORT | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB;
    if (!settings_.resolv_conf.empty()) mask |= ARES_OPT_RESOLVCONF;
    ares_channel channel = nullptr;
    if (const int status = ares_init_options(&channel, &options, mask); status != ARES_SUCCESS) {
      return fail(Errc::Failed, "cannot start the resolver", settings_.resolv_conf, ares_strerror(status),
                  "look at resolv_conf");
    }
    return channel;
  }

  static void tell(const DnsCache::Waiter& waiter, Result<std::vector<Address>> answer) {
    waiter.loop->post([done = waiter.done, answer = std::move(answer)]() mutable { done(std::move(answer)); });
  }
  void deliver(DnsCache::Outcome outcome) {
    for (auto& [waiter, answer] : outcome.waiters) tell(waiter, std::move(answer));
  }

  void ask(const std::string& name) {
    ares_addrinfo_hints hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;  // one node for each address
    hints.ai_flags = ARES_AI_NOSORT;
    auto* question = new Question{this, name};
    ares_getaddrinfo(channel_, name.c_str(), nullptr, &hints, on_addresses, question);
    plan_timeout();
  }

  static void on_addresses(void* argument, int status, int, ares_addrinfo* found) {
    const std::unique_ptr<Question> question(static_cast<Question*>(argument));
    const std::unique_ptr<ares_addrinfo, void (*)(ares_addrinfo*)> owner(found, ares_freeaddrinfo);
    question->self->addresses(question->name, status, found);
  }

  void addresses(const std::string& name, int status, const ares_addrinfo* found) {
    if (ending_) return;
    if (status == ARES_EDESTRUCTION && moving_) {
      ask_again_.insert(name);
      return;
    }
    if (status != ARES_SUCCESS) return deliver(cache_.failed(name, error_of(status, name), loop_.now()));
    std::vector<Address> all;
    for (const ares_addrinfo_node* node = found->nodes; node != nullptr; node = node->ai_next) {
      if (node->ai_addrlen > sizeof(sockaddr_storage)) continue;
      Address address;
      std::memcpy(&address.storage, node->ai_addr, node->ai_addrlen);
      address.size = node->ai_addrlen;
      address.host = name;
      all.push_back(std::move(address));
    }
    auto outcome = cache_.answered(name, all, loop_.now());
    const bool changed = outcome.lost_some;
    deliver(std::move(outcome));
    if (changed && on_change_) on_change_(name, all);
  }

  // --- sockets and time
  void watch(ares_socket_t fd, bool readable, bool writable) {
    if (const auto old = watches_.find(fd); old != watches_.end()) {
      loop_.unwatch(old->second);
      watches_.erase(old);
    }
    if (!readable && !writable) return;
    const std::uint32_t wanted = (readable ? netio::kReadable : 0U) | (writable ? netio::kWritable : 0U);
    watches_[fd] = loop_.watch(fd, wanted, [this, fd](std::uint32_t ready) {
      const bool failed = (ready & netio::kFailed) != 0;
      ares_process_fd(channel_, failed || (ready & netio::kReadable) != 0 ? fd : ARES_SOCKET_BAD,
                      failed || (ready & netio::kWritable) != 0 ? fd : ARES_SOCKET_BAD);
      plan_timeout();
    });
  }

  void plan_timeout() {
    if (timeout_) loop_.cancel(*std::exchange(timeout_, std::nullopt));
    timeval left{};
    if (ares_timeout(channel_, nullptr, &left) == nullptr) return;
    const Duration wait = std::chrono::seconds(left.tv_sec) + std::chrono::microseconds(left.tv_usec);
    timeout_ = loop_.call_at(loop_.now() + wait, [this] {
      timeout_.reset();
      ares_process_fd(channel_, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
      plan_timeout();
    });
  }

  // --- zones
  void plan_zone_check() {
    if (zone_timer_) loop_.cancel(*std::exchange(zone_timer_, std::nullopt));
    if (settings_.zone_check_period <= Duration(0)) return;
    zone_timer_ = loop_.call_at(loop_.now() + settings_.zone_check_period, [this] {
      zone_timer_.reset();
      check_zones();
      plan_zone_check();
    });
  }

  void check_zones() {
    std::set<std::string> zones;
    for (const auto& name : cache_.names()) zones.insert(zone_of(name));
    zones.erase("");
    for (const auto& zone : zones) {
      ares_query(channel_, zone.c_str(), ns_c_in, ns_t_soa, on_soa, new Question{this, zone});
    }
    plan_timeout();
  }

  static void on_soa(void* argument, int status, int, unsigned char* answer, int length) {
    const std::unique_ptr<Question> question(static_cast<Question*>(argument));
    if (status != ARES_SUCCESS || question->self->ending_) return;  // the next check asks again
    ares_soa_reply* soa = nullptr;
    if (ares_parse_soa_reply(answer, length, &soa) != ARES_SUCCESS) return;
    const std::uint32_t serial = soa->serial;
    ares_free_data(soa);
    question->self->zone_serial(question->name, serial);
  }

  void zone_serial(const std::string& zone, std::uint32_t serial) {
    const auto known = serials_.find(zone);
    const bool changed = known != serials_.end() && newer(serial, known->second);
    serials_[zone] = serial;
    if (!changed) return;
    for (const auto& name : cache_.names()) {
      if (zone_of(name) == zone && cache_.refresh(name)) ask(name);
    }
  }

  void plan_sweep() {
    sweep_timer_ = loop_.call_at(loop_.now() + kSweepEvery, [this] {
      cache_.sweep(loop_.now());
      plan_sweep();
    });
  }

  netio::Loop& loop_;
  Settings settings_;
  DnsCache cache_;
  ares_channel channel_ = nullptr;
  std::map<ares_socket_t, netio::Loop::WatchId> watches_;
  std::optional<netio::Loop::TimerId> timeout_, zone_timer_, sweep_timer_;
  std::map<std::string, std::uint32_t> serials_;
  std::function<void(const std::string&, const std::vector<Address>&)> on_change_;
  std::set<std::string> ask_again_;
  bool moving_ = false, ending_ = false;
};

}  // namespace

Result<std::unique_ptr<Resolver>> make_resolver(netio::Loop& control, const Resolver::Settings& settings) {
  // Before any other thread exists: ares_library_init is not thread-safe, and a second call only counts.
  if (const int status = ares_library_init(ARES_LIB_INIT_ALL); status != ARES_SUCCESS) {
    return fail(Errc::Failed, "cannot start the resolver", {}, ares_strerror(status));
  }
  auto resolver = std::make_unique<CaresResolver>(control);
  PGV_TRY_VOID(resolver->start(settings));
  return resolver;
}

}  // namespace pgvigil::pool
