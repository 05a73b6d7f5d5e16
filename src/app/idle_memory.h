// Gives memory back that only the start needed, so that an idle agent is small beside the server that it looks after.
#pragma once

#include "base/clock.h"

namespace pgvigil::app {

// Runs for ever.
Task<void> keep_idle_memory_small(Clock& clock);

}  // namespace pgvigil::app
