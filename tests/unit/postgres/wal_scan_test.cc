#include "postgres/wal_scan.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

namespace pgvigil::postgres {
namespace {

constexpr std::uint64_t kPage = 8192, kSegment = 1U << 20U;

// Writes WAL as a server does: pages with headers, records that go on over them.
class Writer {
 public:
  Writer() {
    char name[] = "/tmp/pgvigil-wal-XXXXXX";
    directory_ = mkdtemp(name);
  }
  ~Writer() { std::filesystem::remove_all(directory_); }

  std::uint64_t record(std::uint32_t payload, std::uint8_t manager = 10, std::uint8_t info = 0) {
    std::vector<char> record(24 + payload, 'x');
    const auto total = static_cast<std::uint32_t>(record.size());
    if (at_ % kPage == 0) header(0);
    const std::uint64_t start = at_;
    std::memcpy(record.data(), &total, 4);
    std::memcpy(record.data() + 8, &previous_, 8);
    record[16] = static_cast<char>(info);
    record[17] = static_cast<char>(manager);
    const auto sum = crc32c(record.data(), 20, crc32c(record.data() + 24, payload));
    std::memcpy(record.data() + 20, &sum, 4);
    for (std::size_t done = 0; done < record.size();) {
      if (at_ % kPage == 0) header(static_cast<std::uint32_t>(record.size() - done));
      const auto length = std::min<std::uint64_t>(record.size() - done, kPage - at_ % kPage);
      put(record.data() + done, length);
      done += length;
    }
    at_ = (at_ + 7) / 8 * 8;
    if (manager == 0 && info == 0x40) at_ = (at_ + kSegment - 1) / kSegment * kSegment;
    previous_ = start;
    return start;
  }
  std::vector<char>& bytes() { return bytes_; }
  [[nodiscard]] std::uint64_t end() const { return at_; }
  [[nodiscard]] std::size_t offset(std::uint64_t lsn) const { return lsn - kSegment; }

  Result<WalEnd> scan(std::uint64_t redo) {
    bytes_.resize((bytes_.size() + kSegment - 1) / kSegment * kSegment);
    for (std::size_t i = 0; i * kSegment < bytes_.size(); ++i) {
      char name[32];
      std::snprintf(name, sizeof name, "/0000000100000000%08zX", i + 1);
      std::ofstream(directory_ + name, std::ios::binary)
          .write(bytes_.data() + i * kSegment, static_cast<std::streamsize>(kSegment));
    }
    return find_wal_end(directory_, Lsn(redo), Timeline(1), std::chrono::steady_clock::now() + std::chrono::seconds(9));
  }

 private:
  void header(std::uint32_t remaining) {
    const bool longer = at_ % kSegment == 0;
    char page[40] = {};
    const std::uint16_t magic = 0xD110, info = (remaining != 0 ? 1 : 0) | (longer ? 2 : 0);
    const std::uint32_t timeline = 1;
    std::memcpy(page, &magic, 2);
    std::memcpy(page + 2, &info, 2);
    std::memcpy(page + 4, &timeline, 4);
    std::memcpy(page + 8, &at_, 8);
    std::memcpy(page + 16, &remaining, 4);
    put(page, longer ? 40 : 24);
  }
  void put(const char* data, std::size_t length) {
    bytes_.resize(offset(at_ + length));
    std::memcpy(bytes_.data() + offset(at_), data, length);
    at_ += length;
  }

  std::string directory_;
  std::vector<char> bytes_;
  std::uint64_t at_ = kSegment, previous_ = 0;
};

TEST(WalScan, TheSumIsTheStandardOne) { EXPECT_EQ(crc32c("123456789", 9), 0xE3069283U); }

TEST(WalScan, FollowsRecordsOverPagesAndSegments) {
  Writer wal;
  const auto redo = wal.record(100);
  for (std::uint32_t i = 0; i < 900; ++i) wal.record(i * 7 % 4000);
  wal.record(30'000);
  const auto found = wal.scan(redo);
  ASSERT_TRUE(found) << found.error().message();
  EXPECT_EQ(found->end, Lsn(wal.end()));
  EXPECT_GT(wal.end(), 2 * kSegment);
  EXPECT_EQ(found->timeline, Timeline(1));
}

TEST(WalScan, EndsBeforeARecordThatIsNotWhole) {
  Writer wal;
  const auto redo = wal.record(100);
  const auto torn = wal.record(20'000);
  wal.record(50);
  wal.bytes()[wal.offset(torn) + 15'000] ^= 1;
  const auto found = wal.scan(redo);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->end, Lsn(torn));
}

TEST(WalScan, ASwitchGoesOnInTheNextSegment) {
  Writer wal;
  const auto redo = wal.record(100);
  wal.record(0, 0, 0x40);
  wal.record(70);
  const auto found = wal.scan(redo);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->end, Lsn(wal.end()));
  EXPECT_GT(found->end, Lsn(2 * kSegment));
}

TEST(WalScan, AnEndAtAPagesEndIsTheEndOfThePage) {
  Writer wal;
  const auto redo = wal.record(100);
  wal.record(static_cast<std::uint32_t>(kPage - wal.end() % kPage - 24));
  const auto found = wal.scan(redo);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->end.value() % kPage, 0U);
}

TEST(WalScan, NothingAtTheRedoPointIsAnError) {
  Writer wal;
  wal.record(100);
  EXPECT_FALSE(wal.scan(wal.end() + 16));
  EXPECT_FALSE(find_wal_end("/nonexistent", Lsn(1), Timeline(1), {}));
}

}  // namespace
}  // namespace pgvigil::postgres
