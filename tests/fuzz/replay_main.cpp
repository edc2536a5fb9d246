// Runs a fuzz entry point over its corpus folder, as a test that needs no fuzzer and no clang. Each
// file is tried whole, cut short at each of its first bytes, and with single bytes changed: the
// damage a network does. The same folder gives the same inputs. An empty folder is a failure.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "common/random.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t cuts_max = 2048;
constexpr int changes_per_file = 500;

/// In a buffer of exactly its size, so that the address sanitizer sees a read past the end.
void try_input(const Bytes& input) {
    const Bytes exact(input);
    LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

void replay(const Bytes& input, reachd::Random& random) {
    try_input(input);
    for (std::size_t size = 0; size < std::min(input.size(), cuts_max); ++size) {
        try_input(Bytes(input.begin(), input.begin() + static_cast<std::ptrdiff_t>(size)));
    }
    for (int i = 0; i < changes_per_file && !input.empty(); ++i) {
        Bytes changed(input);
        const auto at = random.below(static_cast<std::uint32_t>(changed.size()));
        changed[at] = static_cast<std::uint8_t>(random.below(256));
        try_input(changed);
    }
}

std::vector<std::filesystem::path> corpus_files(const char* folder) {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        if (entry.is_regular_file()) {
            files.push_back(entry.path());
        }
    }
    std::sort(files.begin(), files.end());
    return files;
}

Bytes read_file(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return Bytes(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

int replay_folder(const char* folder) {
    const auto files = corpus_files(folder);
    for (const auto& path : files) {
        // Named before it is tried: after a crash this is the last line.
        std::printf("%s\n", path.filename().c_str());
        std::fflush(stdout);
        reachd::Random random(files.size());
        replay(read_file(path), random);
    }
    std::printf("%zu corpus files replayed\n", files.size());
    return files.empty() ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: %s CORPUS_FOLDER\n", argv[0]);
        return 2;
    }
    try {
        return replay_folder(argv[1]);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
        return 1;
    }
}
