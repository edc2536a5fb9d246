// swarm: runs random worlds and prints the seeds that break an invariant.
//
//     swarm --seeds N [--first S] [--jobs J]     exit 1 if any seed is broken
//     swarm --trace SEED                         all that happens in that world
//
// Jobs are processes of their own, so that a crash costs one job and names its seed.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/swarm.hpp"

namespace {

using reachd::sim::run_swarm;
using reachd::sim::SwarmResult;

struct Arguments {
    std::uint64_t first = 1;
    std::uint64_t seeds = 1000;
    unsigned jobs = 1;
    bool trace = false;
};

void print_broken(const SwarmResult& result) {
    for (const std::string& what : result.broken) {
        std::printf(
            "seed %llu broken: %s\n", static_cast<unsigned long long>(result.seed), what.c_str());
    }
    std::fflush(stdout);
}

int trace(std::uint64_t seed) {
    const SwarmResult result = run_swarm(seed, true);
    for (const std::string& line : result.trace) {
        std::printf("%s\n", line.c_str());
    }
    print_broken(result);
    return result.broken.empty() ? 0 : 1;
}

/// Every `jobs`-th seed from `job` on; returns how many are broken.
std::uint64_t run_job(const Arguments& arguments, unsigned job, int progress) {
    std::uint64_t broken = 0;
    for (std::uint64_t i = job; i < arguments.seeds; i += arguments.jobs) {
        const std::uint64_t seed = arguments.first + i;
        // Told before it is run: after a crash this is the seed that did it.
        if (progress >= 0 &&
            pwrite(progress, &seed, sizeof seed, static_cast<off_t>(job * sizeof seed)) < 0) {
            return broken;
        }
        const SwarmResult result = run_swarm(seed);
        broken += result.broken.empty() ? 0U : 1U;
        print_broken(result);
    }
    return broken;
}

std::uint64_t run_jobs(const Arguments& arguments) {
    if (arguments.jobs == 1) {
        return run_job(arguments, 0, -1);
    }
    std::FILE* progress = std::tmpfile();
    if (progress == nullptr) {
        std::perror("swarm: temporary file");
        std::exit(2);
    }
    std::vector<pid_t> jobs;
    std::vector<int> results;
    for (unsigned job = 0; job < arguments.jobs; ++job) {
        int ends[2];
        if (pipe(ends) != 0) {
            std::perror("swarm: pipe");
            std::exit(2);
        }
        const pid_t pid = fork();
        if (pid == 0) {
            close(ends[0]);
            const std::uint64_t broken = run_job(arguments, job, fileno(progress));
            const bool told = write(ends[1], &broken, sizeof broken) == sizeof broken;
            _exit(told ? 0 : 1);
        }
        close(ends[1]);
        jobs.push_back(pid);
        results.push_back(ends[0]);
    }
    std::uint64_t total = 0;
    for (unsigned job = 0; job < arguments.jobs; ++job) {
        std::uint64_t broken = 0;
        if (read(results[job], &broken, sizeof broken) != sizeof broken) {
            std::uint64_t seed = 0;
            const auto place = static_cast<off_t>(job * sizeof seed);
            const bool known = pread(fileno(progress), &seed, sizeof seed, place) == sizeof seed;
            std::printf("seed %llu broken: %s\n",
                        static_cast<unsigned long long>(seed),
                        known ? "crashed; the rest of its job was not run" : "unknown");
            broken = 1;
        }
        close(results[job]);
        waitpid(jobs[job], nullptr, 0);
        total += broken;
    }
    std::fclose(progress);
    return total;
}

[[noreturn]] void usage() {
    std::fputs("usage: swarm --seeds N [--first S] [--jobs J] | swarm --trace SEED\n", stderr);
    std::exit(2);
}

std::uint64_t number(const char* text) {
    char* end = nullptr;
    const std::uint64_t value = std::strtoull(text, &end, 10);
    if (end == text || *end != '\0') {
        usage();
    }
    return value;
}

Arguments parse(int argc, char** argv) {
    Arguments arguments;
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc) {
            usage();
        }
        const std::string name = argv[i];
        const std::uint64_t value = number(argv[i + 1]);
        if (name == "--seeds") {
            arguments.seeds = value;
        } else if (name == "--first") {
            arguments.first = value;
        } else if (name == "--jobs") {
            arguments.jobs = static_cast<unsigned>(std::clamp<std::uint64_t>(value, 1, 256));
        } else if (name == "--trace") {
            arguments.first = value;
            arguments.trace = true;
        } else {
            usage();
        }
    }
    return arguments;
}

}  // namespace

int main(int argc, char** argv) {
    const Arguments arguments = parse(argc, argv);
    if (arguments.trace) {
        return trace(arguments.first);
    }
    const auto start = std::chrono::steady_clock::now();
    const std::uint64_t broken = run_jobs(arguments);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    std::printf("%llu seeds, %llu broken, %.0f seeds/s\n",
                static_cast<unsigned long long>(arguments.seeds),
                static_cast<unsigned long long>(broken),
                static_cast<double>(arguments.seeds) / took.count());
    return broken == 0 ? 0 : 1;
}
