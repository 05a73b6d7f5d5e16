// What a fuzz target promises about its parser, beyond not crashing.
#pragma once

#include <cstdio>
#include <cstdlib>

// Printed before the abort, because libFuzzer shows only a stack.
#define FUZZ_CHECK(expression)                                                        \
  do {                                                                                \
    if (!(expression)) {                                                              \
      std::fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #expression); \
      std::abort();                                                                   \
    }                                                                                 \
  } while (false)
