#include "postgres/control_data.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <map>
#include <thread>

#include "base/time.h"
#include "postgres/spawn.h"

namespace pgvigil::postgres {

namespace {

// The C layout of ControlFileData, the same on amd64 and arm64. PG_CONTROL_VERSION 1300 covers servers 13 to 17 (the
// WAL level that 17 stores in a checkpoint lies in what was padding), 1800 adds one field near the end.
struct CheckPointCopy {
  std::uint64_t redo;
  std::uint32_t timeline, previous_timeline;
  bool full_page_writes;
  std::int32_t wal_level;
  std::uint64_t next_xid;
  std::array<std::uint32_t, 7> ids;
  std::int64_t time;
  std::array<std::uint32_t, 3> xids;
};

struct ControlLayout {
  std::uint64_t system_identifier;
  std::uint32_t control_version, catalog_version;
  std::int32_t state;
  std::int64_t time;
  std::uint64_t checkpoint;
  CheckPointCopy copy;
  std::uint64_t unlogged, min_recovery_end;
  std::uint32_t min_recovery_timeline;
  std::uint64_t backup_start, backup_end;
  bool backup_end_required;
  std::int32_t wal_level;
  bool wal_log_hints;
  std::int32_t max_connections, max_worker_processes, max_wal_senders, max_prepared_xacts, max_locks_per_xact;
  bool track_commit_timestamp;
  std::uint32_t max_align;
  double float_format;
  std::uint32_t block_bytes, relation_segment, wal_block_bytes, wal_segment_bytes;
  std::uint32_t name_length, index_keys, toast_chunk, large_object_block;
  bool float8_by_value;
  std::uint32_t checksum_version;
};
static_assert(sizeof(CheckPointCopy) == 88);
static_assert(offsetof(ControlLayout, checkpoint) == 32);
static_assert(offsetof(ControlLayout, unlogged) == 128);

constexpr std::size_t kNonceBytes = 32;
constexpr std::size_t kAfterChecksumVersion = offsetof(ControlLayout, checksum_version) + sizeof(std::uint32_t);

constexpr std::array<std::uint32_t, 256> make_crc32c_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0x82F63B78U : 0U);
    table[i] = value;
  }
  return table;
}

std::uint32_t crc32c(std::string_view bytes) {
  static constexpr auto kTable = make_crc32c_table();
  std::uint32_t crc = 0xFFFFFFFFU;
  for (const char c : bytes) crc = (crc >> 8) ^ kTable[(crc ^ static_cast<unsigned char>(c)) & 0xFFU];
  return ~crc;
}

ControlState state_of(std::int32_t number) {  // enum DBState
  constexpr std::array kStates{ControlState::StartingUp,         ControlState::ShutDown,
                               ControlState::ShutDownInRecovery, ControlState::ShuttingDown,
                               ControlState::InCrashRecovery,    ControlState::InArchiveRecovery,
                               ControlState::InProduction};
  const auto index = static_cast<std::size_t>(number);
  return number >= 0 && index < kStates.size() ? kStates[index] : ControlState::Unknown;
}

tl::unexpected<Error> bad(std::string cause) {
  return fail(Errc::InvalidConfig, "cannot read the control file", {}, std::move(cause));
}

template <class Number>
Number number(const std::map<std::string, std::string, std::less<>>& fields, std::string_view name) {
  Number value{};
  if (const auto found = fields.find(name); found != fields.end()) {
    std::from_chars(found->second.data(), found->second.data() + found->second.size(), value);
  }
  return value;
}

Result<std::string> run_blocking(const std::vector<std::string>& argv, Duration limit) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return fail(Errc::Failed, "cannot start", argv[0], errno_text(errno));
  Fd out(ends[0]);
  Fd child_end(ends[1]);
  SpawnOptions options;
  options.argv = argv;
  options.environment = child_environment({{"LC_ALL", "C"}, {"LANG", "C"}});
  options.out = child_end.get();
  PGV_TRY(child, spawn(options));
  child_end.reset();
  const TimePoint deadline = boottime_now() + limit;
  std::string text;
  std::array<char, 4096> buffer{};
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - boottime_now()).count();
    pollfd entry{out.get(), POLLIN, 0};
    if (left <= 0 || poll(&entry, 1, static_cast<int>(left)) == 0) {
      ::kill(child.pid, SIGKILL);
      break;
    }
    const ssize_t got = read(out.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  int status = 0;
  waitpid(child.pid, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return fail(Errc::Failed, "the program failed", argv[0]);
  return text;
}

}  // namespace

Result<ControlFile> parse_control_file(std::string_view bytes) {
  ControlLayout raw{};
  if (bytes.size() < sizeof raw + kNonceBytes + 16) return bad("it is too short");
  std::memcpy(&raw, bytes.data(), sizeof raw);
  std::size_t crc_at = 0;
  if (raw.control_version == 1300) {
    crc_at = kAfterChecksumVersion + kNonceBytes;
  } else if (raw.control_version == 1800) {
    crc_at = kAfterChecksumVersion + 1 + kNonceBytes;  // default_char_signedness
  } else {
    return bad(fmt::format("its version {} is not known", raw.control_version));
  }
  crc_at = (crc_at + 3) / 4 * 4;
  std::uint32_t stored = 0;
  std::memcpy(&stored, bytes.data() + crc_at, sizeof stored);
  if (stored != crc32c(bytes.substr(0, crc_at))) return bad("its checksum is wrong");

  ControlFile file;
  file.control_version = raw.control_version;
  file.wal_segment_bytes = raw.wal_segment_bytes;
  auto& data = file.data;
  data.state = state_of(raw.state);
  data.system_id = SystemId(std::to_string(raw.system_identifier));
  data.timeline = Timeline(raw.copy.timeline);
  data.checkpoint = Lsn(raw.checkpoint);
  data.redo = Lsn(raw.copy.redo);
  data.min_recovery_end = Lsn(raw.min_recovery_end);
  data.min_recovery_timeline = Timeline(raw.min_recovery_timeline);
  data.wal_log_hints = raw.wal_log_hints;
  data.data_checksums = raw.checksum_version != 0;
  data.max_connections = static_cast<std::uint32_t>(raw.max_connections);
  data.max_worker_processes = static_cast<std::uint32_t>(raw.max_worker_processes);
  data.max_wal_senders = static_cast<std::uint32_t>(raw.max_wal_senders);
  data.max_prepared_transactions = static_cast<std::uint32_t>(raw.max_prepared_xacts);
  data.max_locks_per_transaction = static_cast<std::uint32_t>(raw.max_locks_per_xact);
  return file;
}

Result<ControlFile> read_control_file(const std::string& data_dir) {
  const std::string path = data_dir + "/global/pg_control";
  std::array<char, 512> buffer{};  // PG_CONTROL_MAX_SAFE_SIZE: the server never uses more
  Error last;
  // The server overwrites the file in place: a torn read fails its checksum and is worth another look.
  for (int attempt = 0; attempt < 5; ++attempt) {
    Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.valid()) {
      const Errc code = errno == ENOENT || errno == ENOTDIR ? Errc::NotFound : Errc::Failed;
      return fail(code, "cannot read the control file", path, errno_text(errno),
                  code == Errc::Failed ? "run the agent as the owner of the data directory" : "");
    }
    const ssize_t got = read(file.get(), buffer.data(), buffer.size());
    if (got < 0) return fail(Errc::Failed, "cannot read the control file", path, errno_text(errno));
    auto parsed = parse_control_file({buffer.data(), static_cast<std::size_t>(got)});
    if (parsed) return parsed;
    last = std::move(parsed.error());
    if (last.cause != "its checksum is wrong") break;
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  last.subject = path;
  return tl::make_unexpected(std::move(last));
}

Result<ControlFile> parse_pg_controldata(std::string_view output) {
  std::map<std::string, std::string, std::less<>> fields;
  while (!output.empty()) {
    const auto end = output.find('\n');
    const auto line = output.substr(0, end);
    output.remove_prefix(end == std::string_view::npos ? output.size() : end + 1);
    // Newer servers begin the settings with "max_connections setting: ..."; no value has ": " in its name.
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    const auto value = line.find_first_not_of(" \t", colon + 1);
    fields.emplace(line.substr(0, colon), value == std::string_view::npos ? "" : line.substr(value));
  }
  const auto lsn = [&fields](std::string_view name) {
    const auto found = fields.find(name);
    return found == fields.end() ? Lsn() : parse_lsn(found->second).value_or(Lsn());
  };
  const auto state = fields.find("Database cluster state");
  const auto id = fields.find("Database system identifier");
  if (state == fields.end() || id == fields.end()) {
    return fail(Errc::InvalidConfig, "cannot understand pg_controldata", {}, "no cluster state in its output");
  }
  ControlFile file;
  auto& data = file.data;
  file.control_version = number<std::uint32_t>(fields, "pg_control version number");
  file.wal_segment_bytes = number<std::uint32_t>(fields, "Bytes per WAL segment");
  data.state = parse_control_state(state->second);
  data.system_id = SystemId(id->second);
  data.timeline = Timeline(number<std::uint32_t>(fields, "Latest checkpoint's TimeLineID"));
  data.checkpoint = lsn("Latest checkpoint location");
  data.redo = lsn("Latest checkpoint's REDO location");
  data.min_recovery_end = lsn("Minimum recovery ending location");
  data.min_recovery_timeline = Timeline(number<std::uint32_t>(fields, "Min recovery ending loc's timeline"));
  const auto hints = fields.find("wal_log_hints setting");
  data.wal_log_hints = hints != fields.end() && hints->second == "on";
  data.data_checksums = number<std::uint32_t>(fields, "Data page checksum version") != 0;
  data.max_connections = number<std::uint32_t>(fields, "max_connections setting");
  data.max_worker_processes = number<std::uint32_t>(fields, "max_worker_processes setting");
  data.max_wal_senders = number<std::uint32_t>(fields, "max_wal_senders setting");
  data.max_prepared_transactions = number<std::uint32_t>(fields, "max_prepared_xacts setting");
  data.max_locks_per_transaction = number<std::uint32_t>(fields, "max_locks_per_xact setting");
  return file;
}

Result<ControlFile> control_file(const std::string& data_dir, const std::string& program) {
  auto direct = read_control_file(data_dir);
  if (direct || direct.error().code != Errc::InvalidConfig) return direct;
  auto output = run_blocking({program, "-D", data_dir}, 5s);
  if (!output) return tl::make_unexpected(std::move(output.error()));
  return parse_pg_controldata(*output);
}

int data_directory_version(const std::string& data_dir) {
  Fd file(open((data_dir + "/PG_VERSION").c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 16> buffer{};
  const ssize_t got = file.valid() ? read(file.get(), buffer.data(), buffer.size()) : -1;
  int major = 0;
  if (got > 0) std::from_chars(buffer.data(), buffer.data() + got, major);
  return major * 10000;
}

}  // namespace pgvigil::postgres
