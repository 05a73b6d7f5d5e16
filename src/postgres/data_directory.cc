#include "postgres/data_directory.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "postgres/spawn.h"

namespace pgvigil::postgres {

namespace fs = std::filesystem;

namespace {

std::string without_slash(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

std::string marker_path(const std::string& data_dir) { return without_slash(data_dir) + ".pgvigil-incomplete"; }
std::string rewind_marker_path(const std::string& data_dir) {
  return without_slash(data_dir) + ".pgvigil-half-rewound";
}

void create_marker(const std::string& path) {
  Fd file(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  if (!file.valid()) return;
  fsync(file.get());
  Fd parent(open(fs::path(path).parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (parent.valid()) fsync(parent.get());
}

tl::unexpected<Error> cannot(std::string what, const fs::path& path, const std::error_code& error) {
  return fail(Errc::Failed, std::move(what), path.string(), error.message(),
              "check the owner and the mode of the directory and of its parent");
}

Result<void> empty_directory(const fs::path& directory) {
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code removal;
    fs::remove_all(entry->path(), removal);
    // The file system's own; it belongs to root on a mount point.
    if (removal && entry->path().filename() != "lost+found") {
      return cannot("cannot remove", entry->path(), removal);
    }
  }
  if (error && error != std::errc::no_such_file_or_directory) return cannot("cannot read", directory, error);
  return {};
}

Result<void> rename_aside(const fs::path& from) {
  const fs::path to = without_slash(from.string()) + ".failed";
  std::error_code error;
  fs::remove_all(to, error);
  if (error) return cannot("cannot remove the older", to, error);
  fs::rename(from, to, error);
  if (error && error != std::errc::no_such_file_or_directory) return cannot("cannot set aside", from, error);
  return {};
}

}  // namespace

DataDirectory inspect_data_directory(const std::string& data_dir) {
  if (is_incomplete(data_dir)) return DataDirectory::Empty;
  std::error_code error;
  fs::directory_iterator entry(data_dir, error);
  if (error == std::errc::no_such_file_or_directory) return DataDirectory::Empty;
  if (error) return DataDirectory::Unreadable;
  for (const fs::directory_iterator end; entry != end;) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with('.') && name != "lost+found") return DataDirectory::Present;
    entry.increment(error);
    if (error) return DataDirectory::Unreadable;
  }
  return DataDirectory::Empty;
}

void mark_incomplete(const std::string& data_dir) { create_marker(marker_path(data_dir)); }
void clear_incomplete(const std::string& data_dir) { unlink(marker_path(data_dir).c_str()); }
bool is_incomplete(const std::string& data_dir) { return access(marker_path(data_dir).c_str(), F_OK) == 0; }

void mark_half_rewound(const std::string& data_dir) { create_marker(rewind_marker_path(data_dir)); }
void clear_half_rewound(const std::string& data_dir) { unlink(rewind_marker_path(data_dir).c_str()); }
bool is_half_rewound(const std::string& data_dir) { return access(rewind_marker_path(data_dir).c_str(), F_OK) == 0; }

std::vector<std::string> linked_directories(const std::string& data_dir) {
  std::vector<std::string> result;
  const auto add = [&result](const fs::path& path) {
    std::error_code error;
    if (!fs::is_symlink(path, error)) return;
    fs::path target = fs::read_symlink(path, error);
    if (error) return;
    if (target.is_relative()) target = path.parent_path() / target;
    if (fs::is_directory(target, error)) result.push_back(target.lexically_normal().string());
  };
  add(fs::path(data_dir) / "pg_wal");
  std::error_code error;
  for (fs::directory_iterator entry(fs::path(data_dir) / "pg_tblspc", error), end; !error && entry != end;
       entry.increment(error)) {
    add(entry->path());
  }
  return result;
}

Result<void> remove_data_directory_content(const std::string& data_dir) {
  std::error_code error;
  if (!fs::exists(data_dir, error)) {
    clear_incomplete(data_dir);
    return {};
  }
  mark_incomplete(data_dir);
  const auto linked = linked_directories(data_dir);
  const fs::path control = fs::path(data_dir) / "global/pg_control";
  fs::remove(control, error);
  if (error) return cannot("cannot remove", control, error);
  for (const auto& target : linked) PGV_TRY_VOID(empty_directory(target));
  PGV_TRY_VOID(empty_directory(data_dir));
  clear_half_rewound(data_dir);
  clear_incomplete(data_dir);
  return {};
}

Result<void> set_aside_data_directory(const std::string& data_dir) {
  std::error_code error;
  const fs::path directory = without_slash(data_dir);
  if (!fs::exists(directory, error)) return {};
  std::vector<fs::path> links{directory / "pg_wal"};
  for (fs::directory_iterator entry(directory / "pg_tblspc", error), end; !error && entry != end;
       entry.increment(error)) {
    links.push_back(entry->path());
  }
  for (const auto& link : links) {
    if (!fs::is_symlink(link, error)) continue;
    fs::path target = fs::read_symlink(link, error);
    if (error) return cannot("cannot read the link", link, error);
    fs::path real = target.is_relative() ? link.parent_path() / target : target;
    PGV_TRY_VOID(rename_aside(real));
    fs::remove(link, error);
    fs::create_symlink(without_slash(target.string()) + ".failed", link, error);
    if (error) return cannot("cannot renew the link", link, error);
  }
  PGV_TRY_VOID(rename_aside(directory));
  clear_half_rewound(data_dir);
  clear_incomplete(data_dir);
  return {};
}

Result<void> create_data_directory(const std::string& data_dir) {
  std::error_code error;
  fs::create_directories(fs::path(data_dir).parent_path(), error);
  if (mkdir(data_dir.c_str(), 0700) == 0) return {};
  struct stat info {};
  if (errno != EEXIST || stat(data_dir.c_str(), &info) != 0) {
    return fail(Errc::Failed, "cannot create the data directory", data_dir, errno_text(errno),
                "create it for the agent's user");
  }
  if ((info.st_mode & 0027U) != 0 && chmod(data_dir.c_str(), (info.st_mode & 0050U) == 0050U ? 0750 : 0700) != 0) {
    return fail(Errc::Failed, "cannot set the mode of the data directory", data_dir, errno_text(errno),
                "make the agent's user its owner");
  }
  return {};
}

}  // namespace pgvigil::postgres
