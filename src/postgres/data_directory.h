// The data directory as a directory: is it empty, removing it, setting it aside. Blocking file operations; the removal
// of a large directory is meant for a thread or a child process (see local_postgres.cc).
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "model/instance.h"

namespace pgvigil::postgres {

// Empty: not there, or no global/pg_control and nothing but names with a leading dot and lost+found; or its content was
// left half made or half removed by an action of ours that did not end (see mark_incomplete).
DataDirectory inspect_data_directory(const std::string& data_dir);

// Says durably, beside the data directory, that its content is not a usable cluster: an agent that dies while it
// clones or removes must not start what is left, nor take it for the operator's data. A data directory whose parent may
// not be written (a mount point) gets no marker: then remains are Present and the operator decides.
void mark_incomplete(const std::string& data_dir);
void clear_incomplete(const std::string& data_dir);
[[nodiscard]] bool is_incomplete(const std::string& data_dir);
// The same for a pg_rewind that had begun to copy: its control file is the old one, so the server would start on pages
// of two histories and not notice. Starting is refused; another rewind, or a new clone, ends this state.
void mark_half_rewound(const std::string& data_dir);
void clear_half_rewound(const std::string& data_dir);
[[nodiscard]] bool is_half_rewound(const std::string& data_dir);

// Targets of the symbolic links pg_wal and pg_tblspc/*, absolute paths.
std::vector<std::string> linked_directories(const std::string& data_dir);

// Removes the content of the directory and of what linked_directories() names; the control file first, so that no half
// of a cluster can be started. The directory itself stays where it cannot be removed (a mount point).
Result<void> remove_data_directory_content(const std::string& data_dir);

// Renames the directory and its WAL and tablespace targets to <name>.failed (an older one of that name is removed) and
// points the links at the new names.
Result<void> set_aside_data_directory(const std::string& data_dir);

// 0700, or 0750 where an existing directory allows the group to read. Creates it when it is missing.
Result<void> create_data_directory(const std::string& data_dir);

}  // namespace pgvigil::postgres
