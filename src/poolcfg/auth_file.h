// userlist.txt: "name" "password" lines.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/secret.h"

namespace pgvigil::poolcfg {

struct AuthFile {
  std::map<std::string, Secret, std::less<>> passwords;  // plain, "md5..." or "SCRAM-SHA-256$..."
  std::string broken;  // where reading stopped and why, as a warning; empty: the whole file was read
};

AuthFile parse_auth_file(std::string_view text, const std::string& name);
Result<AuthFile> load_auth_file(const std::string& path);

}  // namespace pgvigil::poolcfg
