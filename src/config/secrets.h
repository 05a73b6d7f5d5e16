// Passwords that stand in files of their own, and passwords that too many can read.
#pragma once

#include "config/problem.h"
#include "config/value.h"

namespace pgvigil::config {

// Replaces every key X_file of a secret X by X with what the file holds. An unreadable file, an empty one, or both keys
// given at once is an error. Warns of files with passwords that every user of the machine may read.
void resolve_secret_files(Value& root, Problems& problems);

// "***" for every value under a secret's key, wherever it stands, and for the password inside of a URL.
void hide_secrets(Value& value);

}  // namespace pgvigil::config
