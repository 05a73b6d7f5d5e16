#include "postgres/write_probe.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "base/clock.h"

namespace pgvigil::postgres {
namespace {

Result<void> probe(const std::string& directory, Duration patience) {
  asio::io_context loop;
  const auto clock = make_system_clock(loop.get_executor());
  WriteProbe probe(*clock, directory);
  Result<void> result;
  const auto ask = [](WriteProbe& p, TimePoint until, Result<void>& out) -> Task<void> { out = co_await p.run(until); };
  asio::co_spawn(loop, ask(probe, clock->now() + patience, result),
                 [&loop](const std::exception_ptr&) { loop.stop(); });
  loop.run();
  return result;
}

TEST(WriteProbe, ADiskThatWorksTakesABlock) { EXPECT_TRUE(probe("/tmp", std::chrono::seconds(20))); }

TEST(WriteProbe, ADirectoryThatCannotBeWrittenIsAnError) {
  const auto failed = probe("/proc/1/nowhere", std::chrono::seconds(20));
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Errc::Failed);
}

}  // namespace
}  // namespace pgvigil::postgres
