#include "poolcfg/text_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

namespace pgvigil::poolcfg {
namespace {

constexpr std::size_t kLargest = std::size_t{256} << 20U;  // a user list with a million SCRAM secrets has 150 MB

class OpenFile {
 public:
  explicit OpenFile(const std::string& path) : number_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  ~OpenFile() {
    if (number_ >= 0) ::close(number_);
  }
  [[nodiscard]] int number() const { return number_; }

 private:
  int number_;
};

}  // namespace

Result<Secret> read_text_file(const std::string& path, const std::string& what) {
  const auto unreadable = [&](const std::string& cause, const std::string& remedy) {
    return fail(Errc::InvalidConfig, "cannot read " + what, path, cause, remedy);
  };
  const std::string owner = "the pooler's user has to be able to read it";
  const OpenFile file(path);
  if (file.number() < 0) return unreadable(errno_text(errno), owner);
  struct stat about {};
  if (::fstat(file.number(), &about) != 0) return unreadable(errno_text(errno), owner);
  if (S_ISDIR(about.st_mode)) return unreadable("it is a directory", "name a file");
  std::string text;
  // Not grown step by step: each step would leave a copy of the passwords behind.
  if (about.st_size > 0 && static_cast<std::size_t>(about.st_size) <= kLargest) {
    text.reserve(static_cast<std::size_t>(about.st_size) + 1);
  }
  char buffer[65536];
  for (;;) {
    const ssize_t got = ::read(file.number(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return unreadable(errno_text(errno), owner);
    if (got == 0) break;
    if (text.size() + static_cast<std::size_t>(got) > kLargest) {
      return unreadable("it is larger than 256 MiB", "is it the right file?");
    }
    text.append(buffer, static_cast<std::size_t>(got));
  }
  for (volatile char& c : buffer) c = 0;
  if (const std::size_t zero = text.find('\0'); zero != std::string::npos) {
    return unreadable("it holds a zero byte at offset " + std::to_string(zero), "is it the right file?");
  }
  return Secret(std::move(text));
}

}  // namespace pgvigil::poolcfg
