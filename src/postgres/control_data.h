// pg_control: the state of a data directory on disk. Read directly where the layout of the file is known (server
// versions 13 to 18: src/include/catalog/pg_control.h of those releases), else through pg_controldata.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "model/instance.h"

namespace pgvigil::postgres {

struct ControlFile {
  ControlData data;
  std::uint32_t control_version = 0;    // 1300 (servers 13 to 17), 1800 (server 18)
  std::uint32_t wal_segment_bytes = 0;  // 0: unknown
};

// Reads <data_dir>/global/pg_control, a few microseconds. NotFound: there is none. InvalidConfig: the layout is of a
// version we do not know, or the checksum is wrong: ask pg_controldata.
Result<ControlFile> read_control_file(const std::string& data_dir);
Result<ControlFile> parse_control_file(std::string_view bytes);

// The output of pg_controldata run with LC_ALL=C and LANG=C.
Result<ControlFile> parse_pg_controldata(std::string_view output);

// Reads the file, or runs `program` (pg_controldata; blocks for some milliseconds) where that is not possible.
Result<ControlFile> control_file(const std::string& data_dir, const std::string& program);

// "15" of PG_VERSION as server_version_num style major * 10000; 0: unknown.
int data_directory_version(const std::string& data_dir);

}  // namespace pgvigil::postgres
