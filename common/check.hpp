// ENSURE: an invariant of this program, checked in every build. A failure is a bug in reachd, never
// an outcome of the network or of input; the process aborts and the service manager restarts it.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace reachd {

[[noreturn]] inline void ensure_failed(const char* expression, const char* file, int line) {
    std::fprintf(stderr, "reachd: internal error: %s is false (%s:%d)\n", expression, file, line);
    std::abort();
}

}  // namespace reachd

#define ENSURE(expression) \
    ((expression) ? static_cast<void>(0) : ::reachd::ensure_failed(#expression, __FILE__, __LINE__))
