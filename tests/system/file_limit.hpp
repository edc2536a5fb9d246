// RLIMIT_NOFILE for the time of a test; what it was before comes back.
#pragma once

#include <catch2/catch.hpp>

#include <sys/resource.h>

namespace reachd::test {

class FileLimit {
  public:
    explicit FileLimit(rlim_t files) {
        REQUIRE(getrlimit(RLIMIT_NOFILE, &before_) == 0);
        set(files);
    }

    ~FileLimit() { static_cast<void>(setrlimit(RLIMIT_NOFILE, &before_)); }

    FileLimit(const FileLimit&) = delete;
    FileLimit& operator=(const FileLimit&) = delete;

    void set(rlim_t files) const {
        const rlimit limit{files, before_.rlim_max};
        REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    }

  private:
    rlimit before_{};
};

}  // namespace reachd::test
