#include "postgres/wal_scan.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "postgres/spawn.h"

namespace pgvigil::postgres {
namespace {

constexpr std::uint64_t kPage = 8192;  // XLOG_BLCKSZ of every distributor's build; another one reads as "no record"
constexpr std::uint64_t kShortHeader = 24, kLongHeader = 40, kRecordHeader = 24;
constexpr std::uint64_t kCrcAt = 20;  // of a record's header; what comes before is part of its sum
constexpr std::uint16_t kFirstIsContinuation = 1, kHasLongHeader = 2, kOverwritesContinuation = 8;
constexpr std::uint64_t kRecordMax = 1020ULL * 1024 * 1024;
constexpr std::size_t kSegmentNameLength = 24;
constexpr std::uint8_t kXlogManager = 0, kSwitchRecord = 0x40;

using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

Tables make_tables() {
  Tables tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1U) ^ ((value & 1U) != 0 ? 0x82F63B78U : 0U);
    tables[0][byte] = value;
  }
  for (std::size_t n = 1; n < tables.size(); ++n) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      tables[n][byte] = (tables[n - 1][byte] >> 8U) ^ tables[0][tables[n - 1][byte] & 0xFFU];
    }
  }
  return tables;
}

template <class T>
T read_as(std::span<const std::byte> from, std::size_t at) {
  T value{};
  std::memcpy(&value, from.data() + at, sizeof(value));
  return value;
}

struct PageHeader {
  std::uint16_t magic = 0, info = 0;
  std::uint32_t timeline = 0;
  std::uint64_t address = 0;
  std::uint32_t remaining = 0;  // of the record that goes on here
  [[nodiscard]] std::uint64_t size() const { return (info & kHasLongHeader) != 0 ? kLongHeader : kShortHeader; }
};

// The segment files of one pg_wal, by number, each under its highest timeline: the one that recovery reads.
class Segments {
 public:
  explicit Segments(std::string directory) : directory_(std::move(directory)) {}

  Result<void> list(Timeline lowest) {
    std::error_code failed;
    std::filesystem::directory_iterator files(directory_, failed);
    if (failed) return fail(Errc::Failed, "cannot read the WAL", directory_, failed.message());
    std::vector<std::string> names;
    for (const auto& file : files) {
      const std::string name = file.path().filename().string();
      if (name.size() != kSegmentNameLength || name.find_first_not_of("0123456789ABCDEF") != std::string::npos)
        continue;
      if (size_ == 0) size_ = file.file_size(failed);
      names.push_back(name);
    }
    // initdb --wal-segsize: a power of two from 1 MB to 1 GB.
    if (size_ < (1U << 20U) || size_ > (1U << 30U) || (size_ & (size_ - 1)) != 0) {
      return fail(Errc::NotFound, "cannot read the WAL", directory_, "there is no whole segment file");
    }
    const std::uint64_t per_log = (1ULL << 32U) / size_;
    for (const auto& name : names) {
      const auto timeline = number(name, 0);
      const std::uint64_t segment = number(name, 8) * per_log + number(name, 16);
      if (timeline < lowest.value()) continue;
      auto& known = names_[segment];
      known = std::max(known, name);
    }
    return {};
  }

  // The page at `address`; empty: there is none.
  std::span<const std::byte> page(std::uint64_t address) {
    const std::uint64_t segment = address / size_;
    if (!loaded_ || *loaded_ != segment) {
      loaded_ = segment;
      load(segment);
    }
    const std::uint64_t at = address % size_;
    if (at + kPage > content_.size()) return {};
    return std::span<const std::byte>(content_).subspan(at, kPage);
  }
  [[nodiscard]] std::uint64_t size() const { return size_; }

 private:
  static std::uint64_t number(const std::string& name, std::size_t at) {
    std::uint64_t value = 0;
    std::from_chars(name.data() + at, name.data() + at + 8, value, 16);
    return value;
  }
  void load(std::uint64_t segment) {
    content_.clear();
    const auto name = names_.find(segment);
    if (name == names_.end()) return;
    const Fd file(open((directory_ + "/" + name->second).c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.valid()) return;
    content_.resize(size_);
    std::size_t filled = 0;
    while (filled < content_.size()) {
      const ssize_t got = read(file.get(), content_.data() + filled, content_.size() - filled);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) break;
      filled += static_cast<std::size_t>(got);
    }
    content_.resize(filled);
  }

  std::string directory_;
  std::uint64_t size_ = 0;
  std::map<std::uint64_t, std::string> names_;
  std::optional<std::uint64_t> loaded_;
  std::vector<std::byte> content_;
};

class Reader {
 public:
  Reader(Segments& segments, Lsn start, Timeline timeline)
      : segments_(segments), at_(start.value()), timeline_(timeline.value()) {}

  // Reads one whole record; false: WAL ends here.
  bool next() {
    end_ = at_;
    for (;;) {
      if (!enter_record()) return false;
      const Outcome outcome = record();
      if (outcome == Outcome::Whole) return true;
      if (outcome == Outcome::None) return false;
      // A crash recovery before has given a record up whose rest was never written; the page tells.
    }
  }
  [[nodiscard]] Lsn end() const { return Lsn(end_); }
  [[nodiscard]] Timeline timeline() const { return Timeline(timeline_); }

 private:
  enum class Outcome : std::uint8_t { Whole, None, GivenUp };

  std::optional<PageHeader> header(std::uint64_t address) {
    const auto page = segments_.page(address);
    if (page.empty()) return std::nullopt;
    PageHeader found{read_as<std::uint16_t>(page, 0), read_as<std::uint16_t>(page, 2), read_as<std::uint32_t>(page, 4),
                     read_as<std::uint64_t>(page, 8), read_as<std::uint32_t>(page, 16)};
    if (magic_ == 0) magic_ = found.magic;
    // A recycled file still holds the pages of its earlier life: their addresses tell.
    if (found.magic != magic_ || found.magic == 0 || found.address != address || found.timeline < timeline_) {
      return std::nullopt;
    }
    return found;
  }

  // To the first byte of a record.
  bool enter_record() {
    const auto page = header(at_ / kPage * kPage);
    if (!page) return false;
    if (at_ % kPage != 0) return true;
    if ((page->info & kFirstIsContinuation) != 0) return false;
    timeline_ = page->timeline;
    at_ += page->size();
    return true;
  }

  Outcome record() {
    const std::uint64_t start = at_;
    std::array<std::byte, kRecordHeader> head{};
    const auto first = segments_.page(at_ / kPage * kPage);
    const auto total = read_as<std::uint32_t>(first, at_ % kPage);  // a record starts on a multiple of eight
    if (total < kRecordHeader || total > kRecordMax) return Outcome::None;
    std::uint64_t taken = 0;
    std::uint32_t sum = 0;
    while (taken < total) {
      if (at_ % kPage == 0) {
        const auto page = header(at_);
        if (!page) return Outcome::None;
        if ((page->info & kOverwritesContinuation) != 0) {
          at_ += page->size();
          return Outcome::GivenUp;
        }
        if ((page->info & kFirstIsContinuation) == 0 || page->remaining != total - taken) return Outcome::None;
        timeline_ = page->timeline;
        at_ += page->size();
      }
      const std::uint64_t length = std::min(total - taken, kPage - at_ % kPage);
      const auto bytes = segments_.page(at_ / kPage * kPage).subspan(at_ % kPage, length);
      const std::uint64_t of_head = taken < kRecordHeader ? std::min(length, kRecordHeader - taken) : 0;
      std::copy_n(bytes.begin(), of_head, head.begin() + static_cast<std::ptrdiff_t>(taken));
      sum = crc32c(bytes.data() + of_head, length - of_head, sum);
      taken += length;
      at_ += length;
    }
    const auto previous = read_as<std::uint64_t>(head, 8);
    if (crc32c(head.data(), kCrcAt, sum) != read_as<std::uint32_t>(head, kCrcAt)) return Outcome::None;
    if (previous_ != 0 ? previous != previous_ : previous >= start) return Outcome::None;
    previous_ = start;
    at_ = (at_ + 7) / 8 * 8;
    const auto info = read_as<std::uint8_t>(head, 16), manager = read_as<std::uint8_t>(head, 17);
    if (manager == kXlogManager && (info & 0xF0U) == kSwitchRecord) {
      at_ = (at_ + segments_.size() - 1) / segments_.size() * segments_.size();
    }
    end_ = at_;
    return Outcome::Whole;
  }

  Segments& segments_;
  std::uint64_t at_;
  std::uint64_t end_ = 0;       // of the last whole record
  std::uint64_t previous_ = 0;  // where that began
  std::uint32_t timeline_;
  std::uint16_t magic_ = 0;
};

}  // namespace

std::uint32_t crc32c(const void* data, std::size_t size, std::uint32_t so_far) {
  static const Tables kTables = make_tables();
  const auto* at = static_cast<const unsigned char*>(data);
  std::uint32_t sum = ~so_far;
  for (; size >= 8; size -= 8, at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, at, sizeof(word));
    word ^= sum;
    sum = 0;
    for (std::size_t n = 0; n < 8; ++n) sum ^= kTables[7 - n][(word >> (8 * n)) & 0xFFU];
  }
  for (; size > 0; --size, ++at) sum = (sum >> 8U) ^ kTables[0][(sum ^ *at) & 0xFFU];
  return ~sum;
}

Result<WalEnd> find_wal_end(const std::string& wal_directory, Lsn redo, Timeline timeline,
                            std::chrono::steady_clock::time_point deadline) {
  Segments segments(wal_directory);
  PGV_TRY_VOID(segments.list(timeline));
  Reader reader(segments, redo, timeline);
  if (!reader.next()) {
    return fail(Errc::NotFound, "cannot find the end of the WAL", wal_directory,
                "there is no whole record at the redo point " + to_string(redo));
  }
  constexpr unsigned kLookAtClock = 1024;
  for (unsigned records = 1; reader.next(); ++records) {
    if (records % kLookAtClock == 0 && std::chrono::steady_clock::now() >= deadline) {
      return fail(Errc::Timeout, "cannot find the end of the WAL in time", wal_directory,
                  "read up to " + to_string(reader.end()));
    }
  }
  return WalEnd{reader.timeline(), redo, reader.end()};
}

}  // namespace pgvigil::postgres
