#include "pool/signals.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace pgvigil::pool {

Result<std::unique_ptr<SignalSource>> SignalSource::make() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGHUP, SIGTERM, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2}) sigaddset(&set, number);
  signal(SIGPIPE, SIG_IGN);
  if (pthread_sigmask(SIG_BLOCK, &set, nullptr) != 0) return fail(Errc::Failed, "cannot block signals");
  const int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  if (fd < 0) return fail(Errc::Failed, "cannot receive signals", {}, errno_text(errno));
  return std::unique_ptr<SignalSource>(new SignalSource(fd));
}

SignalSource::~SignalSource() {
  stop();
  ::close(fd_);
}

void SignalSource::start(netio::Loop& loop, std::function<void(int number)> call) {
  loop_ = &loop;
  watch_ = loop.watch(fd_, netio::kReadable, [this, call = std::move(call)](std::uint32_t) {
    signalfd_siginfo info{};
    while (::read(fd_, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
      call(static_cast<int>(info.ssi_signo));
    }
  });
}

void SignalSource::stop() {
  if (watch_) loop_->unwatch(*std::exchange(watch_, std::nullopt));
}

}  // namespace pgvigil::pool
