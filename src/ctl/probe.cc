#include "ctl/probe.h"

#include <fmt/format.h>

#include <algorithm>

namespace pgvigil::ctl {
namespace {

constexpr auto kPause = std::chrono::milliseconds(5);
constexpr auto kRetry = std::chrono::milliseconds(10);
constexpr Duration kWriteMax = std::chrono::seconds(30);

}  // namespace

Duration longest_gap(std::chrono::steady_clock::time_point begin,
                     const std::vector<std::chrono::steady_clock::time_point>& acknowledged,
                     std::chrono::steady_clock::time_point end) {
  Duration longest{0};
  auto last = begin;
  for (const auto at : acknowledged) {
    longest = std::max<Duration>(longest, at - last);
    last = at;
  }
  return std::max<Duration>(longest, end - last);
}

Probe::Probe(ConnectionParameters parameters, std::string series)
    : parameters_(std::move(parameters)),
      series_(std::move(series)),
      began_(std::chrono::steady_clock::now()),
      thread_([this] { run(); }) {}

Probe::~Probe() { (void)stop(); }

ProbeResult Probe::stop() {
  stopping_ = true;
  if (thread_.joinable()) {
    thread_.join();
    result_.longest_gap = longest_gap(began_, times_, std::chrono::steady_clock::now());
  }
  return result_;
}

void Probe::run() {
  Connection connection(nullptr, PQfinish);
  const auto failed = [&](const std::string& why) {
    ++result_.errors;
    if (result_.first_error.empty()) result_.first_error = why;
    connection.reset();
    std::this_thread::sleep_for(kRetry);
  };
  for (std::int64_t number = 1; !stopping_; ++number) {
    if (!connection) {
      connection = open_connection(parameters_);
      if (PQstatus(connection.get()) != CONNECTION_OK) {
        failed(one_line(PQerrorMessage(connection.get())));
        continue;
      }
      ++result_.connections;
    }
    const auto rows = run_sql(connection.get(),
                              fmt::format("INSERT INTO {} VALUES ('{}', {})", kProbeTable, series_, number), kWriteMax);
    if (!is_done(rows)) {
      failed(sql_error(connection.get(), rows));
      continue;
    }
    result_.acknowledged.insert(number);
    times_.push_back(std::chrono::steady_clock::now());
    ++writes_;
    std::this_thread::sleep_for(kPause);
  }
}

}  // namespace pgvigil::ctl
