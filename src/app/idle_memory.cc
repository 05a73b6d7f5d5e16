#include "app/idle_memory.h"

#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

namespace pgvigil::app {
namespace {

// When a node has started, cloned or taken over at the latest.
constexpr Duration kFirst = std::chrono::minutes(1);
// What an event touched since (a failover, a reload) goes as well.
constexpr Duration kAgain = std::chrono::hours(1);

// Loading and linking touch most pages of the program and of its eighty libraries, the agent's round touches few. The
// pages of a read-only segment hold what the file holds: the kernel maps them again on the next touch, out of its page
// cache. Writable segments, which the loader relocates, are left alone. The loader's lock is held: nothing is half
// loaded.
int drop_read_only_segments(dl_phdr_info* object, std::size_t, void* page) {
  const auto page_size = *static_cast<const std::uintptr_t*>(page);
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const auto& segment = object->dlpi_phdr[i];
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) != 0) continue;
    const std::uintptr_t start = object->dlpi_addr + segment.p_vaddr;
    const std::uintptr_t from = (start + page_size - 1) / page_size * page_size;
    const std::uintptr_t to = (start + segment.p_memsz) / page_size * page_size;
    if (from < to) (void)madvise(reinterpret_cast<void*>(from), to - from, MADV_DONTNEED);
  }
  return 0;
}

void give_back() {
  auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  (void)dl_iterate_phdr(drop_read_only_segments, &page);
  (void)malloc_trim(0);
}

}  // namespace

Task<void> keep_idle_memory_small(Clock& clock) {
  co_await sleep_for(clock, kFirst);
  for (;;) {
    give_back();
    co_await sleep_for(clock, kAgain);
  }
}

}  // namespace pgvigil::app
