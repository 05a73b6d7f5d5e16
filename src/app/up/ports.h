// Who holds a TCP port of this machine.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace pgvigil::app {

// Empty: the port is free. Else a sentence part that names the holder: "pid 1234 (postgres)", or "another process" when
// that may not be seen.
std::optional<std::string> port_holder(std::uint16_t port);

}  // namespace pgvigil::app
