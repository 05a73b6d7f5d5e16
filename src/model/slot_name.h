// The name of a member's replication slot.
#pragma once

#include <string>

#include "model/ids.h"

namespace pgvigil {

// Lower case; '-' and '.' become '_'; any other character outside [a-z0-9_] becomes 'u' and its code point in decimal
// with at least four digits; cut to 63 bytes. Two members may map to one name: callers have to notice that.
std::string slot_name_of(const MemberName& member);

}  // namespace pgvigil
