// pgvigil-guard SOCKET DATA_DIR IDLE_SECONDS: kills PostgreSQL at a deadline, whatever became of the agent.
//
// A program of its own, linked statically and without libraries, so that it stays below 2 MB, is locked into memory and
// allocates nothing after the start: it has to work on a machine that is out of memory or starved of CPU.
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <initializer_list>

#include "guard/wire.h"

namespace {

using pgvigil::guard::kMagic;
using pgvigil::guard::Op;
using pgvigil::guard::Reply;
using pgvigil::guard::Request;

constexpr int kClientsMax = 4;
constexpr int kRoundsMax = 400;  // of 5 ms: what cannot be killed in two seconds sleeps in the kernel

char data_dir[4096];
pid_t guarded = 0;
int guarded_pidfd = -1;
long long deadline_ns = 0;
unsigned long long kills = 0;

void say(const char* text) {
  if (write(STDERR_FILENO, text, std::strlen(text)) < 0) return;  // nobody may be listening any more
}

long long now_ns() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

int open_pidfd(pid_t pid) { return static_cast<int>(syscall(SYS_pidfd_open, pid, 0U)); }
void signal_pidfd(int pidfd, int number) { syscall(SYS_pidfd_send_signal, pidfd, number, nullptr, 0U); }

// Appends the number to `text`; returns the end.
char* put_number(char* text, long number) {
  char digits[24];
  int count = 0;
  do {
    digits[count++] = static_cast<char>('0' + number % 10);
    number /= 10;
  } while (number > 0);
  while (count > 0) *text++ = digits[--count];
  *text = '\0';
  return text;
}

void proc_path(char* out, long pid, const char* leaf) {
  std::memcpy(out, "/proc/", 6);
  char* end = put_number(out + 6, pid);
  std::strcpy(end, leaf);
}

// Parent of the process and whether it lives and is called postgres, from /proc/PID/stat.
bool read_stat(long pid, long& parent, bool& postgres) {
  char path[64];
  char text[512];
  proc_path(path, pid, "/stat");
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const ssize_t got = read(fd, text, sizeof text - 1);
  close(fd);
  if (got <= 0) return false;
  text[got] = '\0';
  const char* name = std::strchr(text, '(');
  const char* after = std::strrchr(text, ')');
  if (name == nullptr || after == nullptr || after[1] == '\0') return false;
  postgres = std::strncmp(name + 1, "postgres", 8) == 0;
  if (after[2] == 'Z' || after[2] == 'X') return false;
  parent = std::strtol(after + 3, nullptr, 10);
  return true;
}

// Backends are sessions of their own and outlive their postmaster; all of them work in the data directory.
bool works_in_data_dir(long pid) {
  char path[64];
  char target[4096];
  proc_path(path, pid, "/cwd");
  const ssize_t got = readlink(path, target, sizeof target - 1);
  if (got <= 0) return false;
  target[got] = '\0';
  return std::strcmp(target, data_dir) == 0;
}

// SIGKILL to every process of the server but the postmaster; returns how many were found.
int kill_children() {
  alignas(8) static char buffer[16384];
  const int folder = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return 0;
  int found = 0;
  for (;;) {
    const long got = syscall(SYS_getdents64, folder, buffer, sizeof buffer);
    if (got <= 0) break;
    for (long at = 0; at < got;) {
      auto* entry = reinterpret_cast<dirent64*>(buffer + at);
      at += entry->d_reclen;
      char* end = nullptr;
      const long pid = std::strtol(entry->d_name, &end, 10);
      if (end == entry->d_name || *end != '\0' || pid == guarded) continue;
      long parent = 0;
      bool postgres = false;
      if (!read_stat(pid, parent, postgres)) continue;
      if (parent != guarded && !(postgres && works_in_data_dir(pid))) continue;
      kill(static_cast<pid_t>(pid), SIGKILL);
      ++found;
    }
  }
  close(folder);
  return found;
}

void pause_ms(long milliseconds) {
  const timespec length{0, milliseconds * 1'000'000};
  nanosleep(&length, nullptr);
}

// The postmaster is stopped first, so that it forks no more; then its children die, then it; then what it left.
void enforce() {
  say("pgvigil-guard: the deadline has passed: killing PostgreSQL\n");
  signal_pidfd(guarded_pidfd, SIGSTOP);
  while (kill_children() > 0 && now_ns() < deadline_ns + 100'000'000LL) pause_ms(1);
  signal_pidfd(guarded_pidfd, SIGKILL);
  for (int round = 0; round < kRoundsMax && kill_children() > 0; ++round) pause_ms(5);
  ++kills;
}

void disarm() {
  if (guarded_pidfd >= 0) close(guarded_pidfd);
  guarded_pidfd = -1;
  guarded = 0;
  deadline_ns = 0;
}

int set_timer(int timer, long long at_ns) {
  itimerspec when{};
  when.it_value.tv_sec = at_ns / 1'000'000'000LL;
  when.it_value.tv_nsec = at_ns % 1'000'000'000LL;
  return timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, nullptr);
}

int arm(int timer, const Request& request) {
  if (request.deadline_ns <= now_ns()) return ETIME;
  if (request.pid <= 1) return EINVAL;
  if (request.pid != guarded || guarded_pidfd < 0) {
    const int pidfd = open_pidfd(static_cast<pid_t>(request.pid));
    if (pidfd < 0) return errno;
    if (guarded_pidfd >= 0) close(guarded_pidfd);
    guarded_pidfd = pidfd;
    guarded = static_cast<pid_t>(request.pid);
  }
  deadline_ns = request.deadline_ns;
  return set_timer(timer, deadline_ns) == 0 ? 0 : errno;
}

Reply serve(int timer, const Request& request) {
  Reply reply;
  if (request.magic != kMagic) {
    reply.error = EPROTO;
    return reply;
  }
  if (request.op == Op::Arm) reply.error = arm(timer, request);
  if (request.op == Op::Disarm) {
    set_timer(timer, 0);
    disarm();
  }
  reply.pid = guarded;
  reply.deadline_ns = deadline_ns;
  reply.kills = kills;
  return reply;
}

// Everything that makes it more likely to run in time; each may be forbidden, and then it goes without.
void harden() {
  mlockall(MCL_CURRENT | MCL_FUTURE);
  sched_param priority{};
  priority.sched_priority = 1;
  if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &priority) != 0) setpriority(PRIO_PROCESS, 0, -20);
  const int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd >= 0) {
    if (write(fd, "-1000", 5) < 0) errno = 0;
    close(fd);
  }
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGQUIT, SIGUSR1, SIGUSR2}) signal(number, SIG_IGN);
}

int listen_at(const char* path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (std::strlen(path) >= sizeof address.sun_path) return -1;
  std::strcpy(address.sun_path, path);
  char lock_path[4096];
  if (std::strlen(path) + 6 > sizeof lock_path) return -1;
  std::strcpy(lock_path, path);
  std::strcat(lock_path, ".lock");
  // One guard for each socket: the lock is held for life, so that a second one cannot take the path away.
  const int lock = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) != 0) return -1;
  unlink(path);
  const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  umask(0177);
  if (fd < 0 || bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || listen(fd, 8) != 0)
    return -1;
  return fd;
}

void run(int listener, int timer, int idle_seconds) {
  pollfd entries[2 + kClientsMax];
  int clients[kClientsMax];
  for (int& client : clients) client = -1;
  for (;;) {
    entries[0] = {timer, POLLIN, 0};
    entries[1] = {listener, POLLIN, 0};
    bool connected = false;
    for (int i = 0; i < kClientsMax; ++i) {
      entries[2 + i] = {clients[i], POLLIN, 0};
      connected = connected || clients[i] >= 0;
    }
    const bool idle = guarded == 0 && !connected;
    const int ready = poll(entries, 2 + kClientsMax, idle ? idle_seconds * 1000 : -1);
    if (ready == 0 && idle) return;
    if (ready < 0) continue;
    if ((entries[0].revents & POLLIN) != 0) {
      unsigned long long expirations = 0;
      if (read(timer, &expirations, sizeof expirations) > 0 && guarded != 0 && now_ns() >= deadline_ns) {
        enforce();
        disarm();
      }
    }
    for (int i = 0; i < kClientsMax; ++i) {
      if (clients[i] < 0 || entries[2 + i].revents == 0) continue;
      Request request;
      const ssize_t got = recv(clients[i], &request, sizeof request, MSG_DONTWAIT);
      if (got == static_cast<ssize_t>(sizeof request)) {
        const Reply reply = serve(timer, request);
        if (send(clients[i], &reply, sizeof reply, MSG_NOSIGNAL | MSG_DONTWAIT) > 0) continue;
      }
      close(clients[i]);
      clients[i] = -1;
    }
    if ((entries[1].revents & POLLIN) != 0) {
      const int client = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
      int place = -1;
      for (int i = 0; i < kClientsMax; ++i) {
        if (clients[i] < 0) place = i;
      }
      if (place < 0 && client >= 0) {  // the oldest agents are gone or stuck
        close(clients[0]);
        place = 0;
      }
      if (client >= 0) clients[place] = client;
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    say("usage: pgvigil-guard SOCKET DATA_DIR IDLE_SECONDS (started by pgvigil agent)\n");
    return 2;
  }
  syscall(SYS_close_range, 3U, ~0U, 0U);
  if (realpath(argv[2], data_dir) == nullptr) std::strncpy(data_dir, argv[2], sizeof data_dir - 1);
  const int listener = listen_at(argv[1]);
  const int timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
  if (listener < 0 || timer < 0) return 1;
  harden();
  run(listener, timer, std::atoi(argv[3]));
  unlink(argv[1]);
  return 0;
}
