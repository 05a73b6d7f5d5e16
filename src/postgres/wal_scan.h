// Where the WAL of a server that was killed ends, read from its segment files without starting it. PostgreSQL sources,
// xlog_internal.h and xlogrecord.h; the format is the same in versions 13 to 18.
#pragma once

#include <chrono>
#include <string>

#include "base/error.h"
#include "model/instance.h"

namespace pgvigil::postgres {

// CRC-32C as a record carries it. `so_far`: of the bytes before.
std::uint32_t crc32c(const void* data, std::size_t size, std::uint32_t so_far = 0);

// Follows the records from the redo point of the latest checkpoint on, as crash recovery does, until one is not whole:
// no later record can have been acknowledged or sent. Blocking; about a gigabyte a second. Error: the records at the
// redo point cannot be read, or the time is over.
Result<WalEnd> find_wal_end(const std::string& wal_directory, Lsn redo, Timeline timeline,
                            std::chrono::steady_clock::time_point deadline);

}  // namespace pgvigil::postgres
