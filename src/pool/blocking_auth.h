// PAM and LDAP: libraries that block for as long as they like. They run on threads of their own, so that no worker
// waits.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/secret.h"
#include "base/time.h"
#include "netio/loop.h"

namespace pgvigil::pool {

class BlockingAuth {
 public:
  struct Request {
    enum class Method : std::uint8_t { Pam, Ldap } method = Method::Pam;
    std::string user;
    Secret password;
    std::string remote;   // the client's address, for PAM_RHOST
    std::string options;  // of LDAP: the ldap* options of the HBA line, or auth_ldap_options
  };
  using Done = std::function<void(Result<void>)>;

  BlockingAuth();
  ~BlockingAuth();  // waits for the checks that run
  BlockingAuth(const BlockingAuth&) = delete;
  BlockingAuth& operator=(const BlockingAuth&) = delete;

  // From the loop's thread; `done` runs there, exactly once, never inside this call. Unauthorized: the password is
  // wrong. Timeout, Unavailable, InvalidConfig: it could not be checked. The loop must outlive the check.
  void check(Request request, netio::Loop& loop, Done done);

 private:
  static constexpr std::size_t kThreads = 4;
  // As many logins may wait; more are refused, since the last of them would wait past any login timeout.
  static constexpr std::size_t kQueueMax = 256;
  static constexpr Duration kAnswerWithin = std::chrono::seconds(15);

  struct Job;
  void serve();

  std::mutex mutex_;
  std::condition_variable work_;
  std::deque<std::shared_ptr<Job>> queue_;
  std::vector<std::thread> threads_;
  std::size_t idle_ = 0;
  bool stopping_ = false;
};

// The checks themselves; they block.
Result<void> check_pam(const BlockingAuth::Request& request);
Result<void> check_ldap(const BlockingAuth::Request& request);

}  // namespace pgvigil::pool
