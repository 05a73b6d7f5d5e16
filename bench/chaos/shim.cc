// libpgvigil-chaos-shim.so, preloaded into an agent and the PostgreSQL that it starts: a disk whose syncs fail or take
// long, and a wall clock that is wrong. What it does is read at every call from a file that is mapped
// (CHAOS_SHIM), so that a fault reaches processes that run already. CLOCK_BOOTTIME and CLOCK_MONOTONIC stay
// what they are, as when a clock is set.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <ctime>

namespace {

struct Control {  // written by chaos/shim.py
  volatile std::int64_t clock_offset_s;
  volatile std::int32_t sync_errno;
  volatile std::int32_t sync_delay_ms;
};

const Control* control() {
  static const Control* const mapped = []() -> const Control* {
    const char* path = std::getenv("CHAOS_SHIM");
    const int fd = path == nullptr ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return nullptr;
    void* at = mmap(nullptr, sizeof(Control), PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    return at == MAP_FAILED ? nullptr : static_cast<const Control*>(at);
  }();
  return mapped;
}

template <typename Function>
Function next(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

std::int64_t clock_offset() { return control() == nullptr ? 0 : control()->clock_offset_s; }

int sync_with(int (*real)(int), int fd) {
  if (const Control* now = control(); now != nullptr) {
    if (now->sync_delay_ms > 0) {
      const timespec pause{now->sync_delay_ms / 1000, now->sync_delay_ms % 1000 * 1'000'000L};
      nanosleep(&pause, nullptr);
    }
    if (now->sync_errno != 0) {
      errno = now->sync_errno;
      return -1;
    }
  }
  return real(fd);
}

}  // namespace

extern "C" {

int fsync(int fd) {
  static const auto real = next<int (*)(int)>("fsync");
  return sync_with(real, fd);
}

int fdatasync(int fd) {
  static const auto real = next<int (*)(int)>("fdatasync");
  return sync_with(real, fd);
}

int clock_gettime(clockid_t clock, timespec* out) noexcept {
  static const auto real = next<int (*)(clockid_t, timespec*)>("clock_gettime");
  const int result = real(clock, out);
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) out->tv_sec += clock_offset();
  return result;
}

int gettimeofday(timeval* __restrict out, void* __restrict zone) noexcept {
  static const auto real = next<int (*)(timeval*, void*)>("gettimeofday");
  const int result = real(out, zone);
  if (result == 0) out->tv_sec += clock_offset();
  return result;
}

time_t time(time_t* out) noexcept {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  if (out != nullptr) *out = now.tv_sec;
  return now.tv_sec;
}
}
