#include "pool/blocking_auth.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>

namespace pgvigil::pool {
namespace {

constexpr auto kPatience = std::chrono::seconds(30);

class BlockingAuthTest : public testing::Test {
 protected:
  void SetUp() override {
    loop = std::move(*netio::make_loop({netio::Backend::Epoll}));
    thread_ = std::thread([this] { loop->run(); });
  }
  void TearDown() override {
    auth.reset();
    loop->stop();
    thread_.join();
  }
  std::future<Result<void>> check(BlockingAuth::Request::Method method, const std::string& options,
                                  const std::string& password) {
    auto answer = std::make_shared<std::promise<Result<void>>>();
    auto future = answer->get_future();
    BlockingAuth::Request request;
    request.method = method;
    request.user = "nobody-of-that-name";
    request.password = Secret(password);
    request.remote = "127.0.0.1";
    request.options = options;
    loop->post([this, request, answer] {
      auth->check(request, *loop, [answer](const Result<void>& result) { answer->set_value(result); });
    });
    return future;
  }
  static Errc code_of(std::future<Result<void>> future) {
    if (future.wait_for(kPatience) != std::future_status::ready) return Errc::Cancelled;
    const auto result = future.get();
    return result ? Errc::Cancelled : result.error().code;
  }

  std::unique_ptr<netio::Loop> loop;
  std::unique_ptr<BlockingAuth> auth = std::make_unique<BlockingAuth>();

 private:
  std::thread thread_;
};

using Method = BlockingAuth::Request::Method;

TEST_F(BlockingAuthTest, AServerThatDoesNotListen) {
  EXPECT_EQ(code_of(check(Method::Ldap, "ldapserver=127.0.0.1 ldapport=1 ldapprefix=cn=", "x")), Errc::Unavailable);
}

TEST_F(BlockingAuthTest, OptionsThatCannotBeUsed) {
  EXPECT_EQ(code_of(check(Method::Ldap, "ldapserver=127.0.0.1", "x")), Errc::InvalidConfig);
}

// RFC 4513, 5.1.2: a name with an empty password is an anonymous bind, and succeeds.
TEST_F(BlockingAuthTest, AnEmptyPasswordNeverReachesTheServer) {
  EXPECT_EQ(code_of(check(Method::Ldap, "ldapserver=127.0.0.1 ldapport=1 ldapprefix=cn=", "")), Errc::Unauthorized);
}

TEST_F(BlockingAuthTest, PamRefusesWhoDoesNotExist) {
  EXPECT_EQ(code_of(check(Method::Pam, "", "x")), Errc::Unauthorized);
}

TEST_F(BlockingAuthTest, ManyAtOnceAllGetAnAnswer) {
  std::vector<std::future<Result<void>>> answers;
  for (int i = 0; i < 400; ++i) answers.push_back(check(Method::Ldap, "ldapserver=h", "x"));
  for (auto& answer : answers) {
    const Errc code = code_of(std::move(answer));
    EXPECT_TRUE(code == Errc::InvalidConfig || code == Errc::Unavailable);
  }
}

}  // namespace
}  // namespace pgvigil::pool
