// The two ends of a pooler without what they usually cost: a server that answers from memory and a client that only
// counts.
#include <csignal>
#include <iostream>
#include <string_view>

#include "options.h"

namespace {
constexpr std::string_view kUsage = R"(usage:
  pgvigil-bench-pooler server --port P [--threads 1]
      answers trust logins and every query: one row; 'hundred' in the text: 100 rows; 'mega': a row of 1 MB;
      'copyout N': N bytes of COPY data; 'copyin': takes COPY data
  pgvigil-bench-pooler load --port P [--connections 40] [--threads 1] [--protocol simple|extended|prepared] [--sql one]
      [--seconds 5 | --transactions N] [--rate R] [--tls 1] [--reconnect 1] [--user U] [--password P] [--database D]
      [--copy-bytes N] [--idle 1]
      prints 'ready' when all are logged in, starts at a line on stdin, prints a line of JSON, ends when stdin does
)";
}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  const std::string_view verb = argc > 1 ? argv[1] : "";
  if (verb == "server") return bench::run_server(bench::Options(argc, argv));
  if (verb == "load") return bench::run_load(bench::Options(argc, argv));
  std::cerr << kUsage;
  return 2;
}
