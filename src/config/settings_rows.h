// The rows behind settings(): data only.
#pragma once

#include <span>

#include "config/settings_table.h"

namespace pgvigil::config {

std::span<const Setting> setting_rows();

}  // namespace pgvigil::config
