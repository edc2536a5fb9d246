#include "agent/io/process_table.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/guest_text.hpp"
#include "agent/io/bounded_file.hpp"
#include "agent/io/gap_collector.hpp"
#include "agent/io/scan_patience.hpp"

namespace reachd {
namespace {

/// Of /proc/PID/comm, and of /proc/PID/status, whose user line is among the first.
constexpr std::size_t comm_bytes_max = 64;
constexpr std::size_t status_bytes_max = 4096;
constexpr std::size_t users_file_bytes_max = 4U << 20U;
/// Files of one directory of libvirt's: two for each domain, and its logs elsewhere.
constexpr std::size_t libvirt_entries_max = 4 * virtual_machines_max;

/// Users under whom libvirt runs QEMU: Debian and Ubuntu; Fedora, RHEL and SUSE.
constexpr std::array<std::string_view, 2> management_users{"libvirt-qemu", "qemu"};

template <class Number>
std::optional<Number> parse_number(std::string_view text) {
    Number number{};
    const auto end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, number);
    const bool whole = parsed.ec == std::errc{} && parsed.ptr == end;
    return whole ? std::optional(number) : std::nullopt;
}

/// Takes the text up to `separator` (or all of it) from the front of `text`.
std::string_view take_field(std::string_view& text, char separator) {
    const auto end = std::min(text.find(separator), text.size());
    const auto field = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    return field;
}

class Directory {
  public:
    explicit Directory(const std::filesystem::path& path) : stream_(::opendir(path.c_str())) {
        if (!stream_) {
            error_ = last_error();
        }
    }

    const std::error_code& error() const { return error_; }

    int fd() const { return ::dirfd(stream_.get()); }

    /// Nothing at the end. Valid until the following call.
    const char* next() {
        // NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is ours alone.
        const dirent* entry = stream_ ? ::readdir(stream_.get()) : nullptr;
        return entry == nullptr ? nullptr : entry->d_name;
    }

  private:
    struct Close {
        void operator()(DIR* stream) const { ::closedir(stream); }
    };

    std::unique_ptr<DIR, Close> stream_;
    std::error_code error_;
};

/// Lines of passwd(5): name, password, uid, …
std::vector<std::uint32_t> management_uids(const std::filesystem::path& root) {
    std::vector<std::uint32_t> uids;
    const auto file = read_bounded_file(AT_FDCWD, root / "etc/passwd", users_file_bytes_max);
    std::string_view text = file ? std::string_view(*file) : std::string_view{};
    while (!text.empty()) {
        std::string_view line = take_field(text, '\n');
        const auto name = take_field(line, ':');
        take_field(line, ':');
        const auto uid = parse_number<std::uint32_t>(take_field(line, ':'));
        const bool named = std::find(management_users.begin(), management_users.end(), name) !=
                           management_users.end();
        if (named && uid) {
            uids.push_back(*uid);
        }
    }
    std::sort(uids.begin(), uids.end());
    uids.erase(std::unique(uids.begin(), uids.end()), uids.end());
    return uids;
}

/// The line "Uid: real effective saved filesystem" of /proc/PID/status. Where they differ, somebody
/// has started a program that runs as somebody else, and chosen its arguments.
std::optional<std::uint32_t> owner_in(std::string_view status) {
    constexpr std::string_view key = "Uid:";
    while (!status.empty()) {
        std::string_view line = take_field(status, '\n');
        if (line.substr(0, key.size()) != key) {
            continue;
        }
        line.remove_prefix(key.size());
        take_field(line, '\t');
        const auto real = parse_number<std::uint32_t>(take_field(line, '\t'));
        const auto effective = parse_number<std::uint32_t>(take_field(line, '\t'));
        const auto saved = parse_number<std::uint32_t>(take_field(line, '\t'));
        return real == effective && real == saved ? real : std::nullopt;
    }
    return std::nullopt;
}

/// Each network namespace has an entry of its own there, which shows without privileges, unlike
/// /proc/PID/ns/net. Nothing: it cannot be known.
std::optional<ino_t> network_of(int process) {
    struct stat entry {};

    return ::fstatat(process, "net/dev", &entry, 0) == 0 ? std::optional(entry.st_ino)
                                                         : std::nullopt;
}

std::string_view first_line(std::string_view text) {
    return take_field(text, '\n');
}

class ProcessScan {
  public:
    ProcessScan(const std::atomic<bool>& stop, const std::filesystem::path& root)
        : proc_(root / "proc"),
          patience_(stop, name_scan_time_max) {
        table_.vm_uids = management_uids(root);
    }

    ProcessTable run() {
        Directory directory(proc_);
        if (directory.error()) {
            gaps_.add("/proc", directory.error());
        } else {
            find_others(directory.fd());
            find_own_network(directory.fd());
            read_all(directory);
        }
        std::sort(
            table_.processes.begin(),
            table_.processes.end(),
            [](const VmProcess& left, const VmProcess& right) { return left.pid < right.pid; });
        table_.gaps = gaps_.take();
        return std::move(table_);
    }

  private:
    /// Each namespace of processes has a first one. Where it does not show, no other user's does.
    void find_others(int proc) {
        if (::faccessat(proc, "1/comm", F_OK, 0) != 0) {
            gaps_.add("/proc", "processes of other users are hidden (hidepid, ProtectProc)");
        }
    }

    void find_own_network(int proc) {
        const FileDescriptor self(::openat(proc, "self", O_PATH | O_DIRECTORY | O_CLOEXEC));
        own_network_ = self ? network_of(self.get()) : std::nullopt;
    }

    /// The names of its taps are then those of other devices than ours. Its MACs may well be behind
    /// our ports: in a container, or by a tap that it was handed.
    bool is_in_another_network(const FileDescriptor& process) const {
        const auto network = network_of(process.get());
        return own_network_ && network && *network != *own_network_;
    }

    void read_all(Directory& directory) {
        std::size_t seen = 0;
        while (const char* name = directory.next()) {
            const auto pid = parse_number<std::int32_t>(name);
            if (!pid || *pid <= 0) {
                continue;
            }
            if (++seen > processes_max) {
                gaps_.add("/proc", "too many processes");
                return;
            }
            if (patience_.is_over()) {
                gaps_.add("/proc", "reading took too long");
                return;
            }
            look_at(directory.fd(), name, *pid);
        }
    }

    /// By the directory of the process: it stays that of this process, whoever gets its number.
    void look_at(int proc, const char* name, std::int32_t pid) {
        const FileDescriptor process(
            ::openat(proc, name, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
        if (!process) {
            return;  // it has ended
        }
        const auto comm = read(process, "comm", comm_bytes_max);
        if (!comm || !may_be_vm(*comm)) {
            return;
        }
        const auto status = read(process, "status", status_bytes_max);
        if (!status) {
            return;
        }
        const auto owner = owner_in(*status);
        const auto budget = command_line_budget(owner);
        if (budget == 0) {
            gaps_.add("/proc/PID/cmdline", "too many or too long");
            return;
        }
        const auto command_line = read(process, "cmdline", budget);
        if (!command_line || command_line->empty()) {
            return;  // threads of the kernel ("kvm-pit/17") have none
        }
        spend(owner, command_line->size());
        auto machine = read_command_line(*command_line);
        if (machine.name.empty() && machine.uuid.empty()) {
            return;  // qemu-nbd, qemu-img and the like
        }
        if (is_in_another_network(process)) {
            for (VmNic& nic : machine.nics) {
                nic.tap.clear();
            }
        }
        machine.pid = pid;
        machine.owner_uid = owner;
        machine.comm = guest_name_text(first_line(*comm));
        table_.processes.push_back(std::move(machine));
    }

    std::optional<std::string> read(const FileDescriptor& process,
                                    const char* file,
                                    std::size_t bytes_max) {
        auto text = read_bounded_file(process.get(), file, bytes_max);
        if (!text) {
            gaps_.add(std::string("/proc/PID/") + file, text.error());
            return std::nullopt;
        }
        return std::move(*text);
    }

    bool is_management(std::optional<std::uint32_t> owner) const {
        return owner && (*owner == 0 ||
                         std::binary_search(table_.vm_uids.begin(), table_.vm_uids.end(), *owner));
    }

    /// Bytes that a command line of this owner may still have; 0: no more of them.
    std::size_t command_line_budget(std::optional<std::uint32_t> owner) const {
        const bool management = is_management(owner);
        const auto most = management ? virtual_machines_max : users_machines_max;
        const auto bytes = management ? command_lines_bytes_max : users_command_lines_bytes_max;
        const auto& spent = management ? management_ : users_;
        // All of it or nothing: a part would be another command line.
        const bool left = spent.machines < most && bytes - spent.bytes >= command_line_bytes_max;
        return left ? command_line_bytes_max : 0;
    }

    void spend(std::optional<std::uint32_t> owner, std::size_t bytes) {
        auto& spent = is_management(owner) ? management_ : users_;
        ++spent.machines;
        spent.bytes += bytes;
    }

    struct Spent {
        std::size_t machines = 0;
        std::size_t bytes = 0;
    };

    std::filesystem::path proc_;
    ScanPatience patience_;
    ProcessTable table_;
    GapCollector gaps_;
    std::optional<ino_t> own_network_;
    Spent management_;
    Spent users_;
};

bool is_domain_file(std::string_view name) {
    constexpr std::string_view ending = ".xml";
    return name.size() > ending.size() && name.front() != '.' &&
           name.substr(name.size() - ending.size()) == ending;
}

/// Names of a directory's domain files, in order; none when there is no time to read any.
std::vector<std::string> domain_files(Directory& directory,
                                      const std::string& source,
                                      const ScanPatience& patience,
                                      GapCollector& gaps) {
    std::vector<std::string> names;
    std::size_t seen = 0;
    while (const char* name = directory.next()) {
        if (++seen > libvirt_entries_max) {
            gaps.add(source, "too many files");
            break;
        }
        if (!is_domain_file(name)) {
            continue;
        }
        if (patience.is_over()) {
            gaps.add(source, "reading took too long");
            return {};
        }
        names.emplace_back(name);
    }
    std::sort(names.begin(), names.end());
    return names;
}

class LibvirtScan {
  public:
    LibvirtScan(const std::atomic<bool>& stop, const std::filesystem::path& root)
        : root_(root),
          patience_(stop, name_scan_time_max) {}

    LibvirtFiles run() {
        read_directory("run/libvirt/qemu");
        read_directory("run/libvirt/lxc");
        files_.gaps = gaps_.take();
        return std::move(files_);
    }

  private:
    void read_directory(const char* path) {
        const std::string source = std::string("/") + path;
        Directory directory(root_ / path);
        if (directory.error()) {
            gaps_.add(source, directory.error());
            return;
        }
        for (const auto& name : domain_files(directory, source, patience_, gaps_)) {
            if (files_.domains.size() >= virtual_machines_max ||
                libvirt_files_bytes_max - bytes_ <= libvirt_file_bytes_max) {
                gaps_.add(source, "too many or too long");
                return;
            }
            if (patience_.is_over()) {
                gaps_.add(source, "reading took too long");
                return;
            }
            read_file(directory.fd(), name, source);
        }
    }

    void read_file(int directory, const std::string& name, const std::string& source) {
        const std::string each = source + "/*.xml";
        // One byte more than is taken, to tell a whole file from a part.
        const auto text = read_bounded_file(directory, name, libvirt_file_bytes_max + 1);
        if (!text) {
            gaps_.add(each, text.error());
            return;
        }
        bytes_ += text->size();
        auto domain = read_libvirt_domain(*text);
        if (!domain) {
            gaps_.add(each, "no domain of libvirt's");
            return;
        }
        files_.domains.push_back(std::move(*domain));
    }

    std::filesystem::path root_;
    ScanPatience patience_;
    LibvirtFiles files_;
    GapCollector gaps_;
    std::size_t bytes_ = 0;
};

}  // namespace

ProcessTable read_process_table(const std::atomic<bool>& stop, const std::filesystem::path& root) {
    return ProcessScan(stop, root).run();
}

LibvirtFiles read_libvirt_files(const std::atomic<bool>& stop, const std::filesystem::path& root) {
    return LibvirtScan(stop, root).run();
}

}  // namespace reachd
