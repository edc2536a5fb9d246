// Names of guests from the real kernel and from trees of the test's own: processes, libvirt's
// files, network namespaces, and the run-time file. What needs root is left out aloud without it.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/guest_text.hpp"
#include "agent/io/name_evidence.hpp"
#include "agent/io/namespace_names.hpp"
#include "agent/io/process_table.hpp"
#include "agent/io/runtime_file.hpp"

namespace reachd {
namespace {

namespace fs = std::filesystem;

constexpr uid_t nobody = 65534;
/// No scan is to end early.
const std::atomic<bool> never{false};

class Tree {
  public:
    Tree() {
        std::string pattern = fs::temp_directory_path() / "reachd-names-XXXXXX";
        REQUIRE(mkdtemp(pattern.data()) != nullptr);
        root_ = pattern;
        fs::permissions(root_, fs::perms(0755));
    }

    ~Tree() {
        std::error_code ignored;
        fs::remove_all(root_, ignored);
    }

    Tree(const Tree&) = delete;
    Tree& operator=(const Tree&) = delete;

    const fs::path& root() const { return root_; }

    void write(const fs::path& path, const std::string& text) {
        fs::create_directories((root_ / path).parent_path());
        std::ofstream(root_ / path, std::ios::binary) << text;
    }

    void add_process(int pid,
                     const std::string& comm,
                     const std::string& uids,
                     const std::string& line) {
        const fs::path directory = fs::path("proc") / std::to_string(pid);
        write(directory / "comm", comm + "\n");
        write(directory / "status",
              "Name:\t" + comm + "\nUmask:\t0022\nUid:\t" + uids + "\nGid:\t0\n");
        write(directory / "cmdline", line);
    }

    void add_machine(int pid, const std::string& name, const std::string& uids = "0\t0\t0\t0") {
        add_process(pid, "qemu-system-x86", uids, command_line(name));
    }

    static std::string command_line(const std::string& name) {
        std::string line = "qemu -name guest=" + name + " -nic tap,ifname=tap5 ";
        std::replace(line.begin(), line.end(), ' ', '\0');
        return line;
    }

  private:
    fs::path root_;
};

/// Another user for as long as it lives: what root may read proves nothing.
class AsNobody {
  public:
    AsNobody() { REQUIRE(seteuid(nobody) == 0); }

    ~AsNobody() {
        if (seteuid(0) != 0) {
            std::abort();  // all that follows would be somebody else's
        }
    }

    AsNobody(const AsNobody&) = delete;
    AsNobody& operator=(const AsNobody&) = delete;
};

bool is_root(const char* what) {
    if (geteuid() != 0) {
        WARN("left out without root: " << what);
        return false;
    }
    return true;
}

std::vector<std::string> names_of(const ProcessTable& table) {
    std::vector<std::string> names;
    for (const auto& process : table.processes) {
        names.push_back(process.name);
    }
    return names;
}

/// A child process, ended and waited for at the end.
class Child {
  public:
    template <class Body>
    explicit Child(Body body) : pid_(fork()) {
        REQUIRE(pid_ >= 0);
        if (pid_ == 0) {
            _exit(body());
        }
    }

    ~Child() {
        if (pid_ > 0) {
            kill(pid_, SIGKILL);
            static_cast<void>(wait());
        }
    }

    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    pid_t pid() const { return pid_; }

    int wait() {
        int status = -1;
        while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
        }
        pid_ = -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }

  private:
    pid_t pid_;
};

struct Pipe {
    int read_end = -1;
    int write_end = -1;

    Pipe() {
        int ends[2];
        REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
        read_end = ends[0];
        write_end = ends[1];
    }

    ~Pipe() {
        close(read_end);
        close(write_end);
    }

    Pipe(const Pipe&) = delete;
    Pipe& operator=(const Pipe&) = delete;
};

}  // namespace

TEST_CASE("machines among the processes") {
    Tree tree;
    tree.add_process(1, "systemd", "0\t0\t0\t0", "/sbin/init");
    tree.add_machine(300, "web03", "64055\t64055\t64055\t64055");
    tree.add_machine(200, "web02", "1000\t1000\t1000\t1000");
    tree.add_process(100, "kvm", "0\t0\t0\t0", Tree::command_line("web01"));
    tree.add_process(400, "qemu-nbd", "0\t0\t0\t0", std::string("qemu-nbd\0-c\0", 12));
    tree.add_process(500, "kvm-pit/300", "0\t0\t0\t0", "");
    tree.add_process(600, "bash", "0\t0\t0\t0", Tree::command_line("no-machine"));
    tree.write("proc/sys/kernel/osrelease", "6.1");
    tree.write("etc/passwd",
               "root:x:0:0:root:/root:/bin/bash\n"
               "libvirt-qemu-x:x:1:1::/:/bin/false\n"
               "libvirt-qemu:x:64055:64055:Libvirt Qemu,,,:/var/lib/libvirt:/usr/sbin/nologin\n"
               "qemu:x:107:107::/:/sbin/nologin");
    const auto table = read_process_table(never, tree.root());
    CHECK(table.gaps.empty());
    CHECK(table.vm_uids == std::vector<std::uint32_t>{107, 64055});
    REQUIRE(names_of(table) == std::vector<std::string>{"web01", "web02", "web03"});
    CHECK(table.processes[0].pid == 100);
    CHECK(table.processes[0].comm == "kvm");
    CHECK(table.processes[0].owner_uid == 0U);
    CHECK(table.processes[0].nics == std::vector<VmNic>{{std::nullopt, "tap5"}});
    CHECK(table.processes[1].owner_uid == 1000U);
}

TEST_CASE("machines of other network namespaces name no device of ours") {
    Tree tree;
    tree.add_machine(10, "ours");
    tree.add_machine(11, "theirs");
    tree.add_machine(12, "unknown");
    tree.write("proc/self/net/dev", "");
    fs::create_directories(tree.root() / "proc/10/net");
    fs::create_hard_link(tree.root() / "proc/self/net/dev", tree.root() / "proc/10/net/dev");
    tree.write("proc/11/net/dev", "");
    const auto table = read_process_table(never, tree.root());
    REQUIRE(names_of(table) == std::vector<std::string>{"ours", "theirs", "unknown"});
    CHECK(table.processes[0].nics[0].tap == "tap5");
    CHECK(table.processes[1].nics[0].tap.empty());
    CHECK(table.processes[2].nics[0].tap == "tap5");
}

TEST_CASE("who owns a process is not who runs it as somebody else") {
    Tree tree;
    tree.add_process(1, "init", "0\t0\t0\t0", "");
    tree.add_machine(10, "setuid", "1000\t0\t0\t0");
    tree.add_machine(11, "saved", "1000\t1000\t0\t1000");
    tree.add_machine(12, "odd", "-1\t-1\t-1\t-1");
    tree.add_machine(13, "none", "");
    const auto table = read_process_table(never, tree.root());
    REQUIRE(table.processes.size() == 4);
    for (const auto& process : table.processes) {
        INFO(process.name);
        CHECK_FALSE(process.owner_uid);
    }
}

TEST_CASE("processes that cannot be read are told once") {
    Tree tree;
    tree.add_process(1, "init", "0\t0\t0\t0", "");
    for (int pid = 10; pid < 20; ++pid) {
        tree.add_machine(pid, "hidden");
        fs::remove(tree.root() / "proc" / std::to_string(pid) / "cmdline");
        fs::create_directory(tree.root() / "proc" / std::to_string(pid) / "cmdline");
    }
    tree.add_machine(20, "web01");
    const auto table = read_process_table(never, tree.root());
    CHECK(names_of(table) == std::vector<std::string>{"web01"});
    CHECK(table.gaps == std::vector<NameGap>{{"/proc/PID/cmdline", "Invalid argument", 10}});

    fs::remove_all(tree.root() / "proc/1");
    const auto hidden = read_process_table(never, tree.root());
    REQUIRE(hidden.gaps.size() == 2);
    CHECK(hidden.gaps[0].source == "/proc");
    // No /proc at all is a machine without processes, as far as we can tell.
    CHECK(read_process_table(never, tree.root() / "none").processes.empty());
}

TEST_CASE("users cannot crowd out the management's machines") {
    Tree tree;
    tree.add_process(1, "init", "0\t0\t0\t0", "");
    const auto others = static_cast<int>(users_machines_max) + 20;
    for (int i = 0; i < others; ++i) {
        tree.add_machine(1000 + i, "forged", "1000\t1000\t1000\t1000");
    }
    tree.add_machine(90000, "web01");
    const auto table = read_process_table(never, tree.root());
    CHECK(table.processes.size() == users_machines_max + 1);
    CHECK(table.processes.back().name == "web01");
    CHECK(table.gaps == std::vector<NameGap>{{"/proc/PID/cmdline", "too many or too long", 20}});
}

TEST_CASE("hostile files in the place of processes") {
    Tree tree;
    tree.add_process(1, "init", "0\t0\t0\t0", "");
    tree.add_process(10, "qemu", "0\t0\t0\t0", std::string(5U << 20U, 'x'));
    tree.add_process(11, "qemu", "0\t0\t0\t0", std::string("\0-name\0\xff\x1b[31m\0", 15));
    tree.add_process(12, std::string(4000, 'q'), "0\t0\t0\t0", Tree::command_line("x"));
    tree.add_machine(13, "fifo");
    fs::remove(tree.root() / "proc/13/cmdline");
    REQUIRE(mkfifo((tree.root() / "proc/13/cmdline").c_str(), 0644) == 0);
    tree.add_machine(14, "link");
    fs::remove(tree.root() / "proc/14/cmdline");
    fs::create_symlink("../11/cmdline", tree.root() / "proc/14/cmdline");
    tree.write("proc/15", "no directory");
    tree.write("proc/99999999999/comm", "qemu");
    tree.write("proc/-16/comm", "qemu");
    const auto table = read_process_table(never, tree.root());
    CHECK(names_of(table) == std::vector<std::string>{"\\xff\\x1b[31m"});
    CHECK(table.gaps.size() == 2);
}

TEST_CASE("a real process of that name") {
    Tree tree;
    fs::create_symlink("/bin/sh", tree.root() / "qemu-system-x86_64");
    const std::string program = tree.root() / "qemu-system-x86_64";
    const Pipe input;
    const Pipe ready;
    const Child child([&] {
        dup2(input.read_end, STDIN_FILENO);
        dup2(ready.write_end, STDOUT_FILENO);
        execl(program.c_str(),
              program.c_str(),
              "-c",
              "echo; read line",
              "sh",
              "-name",
              "guest=real-web01,debug-threads=on",
              "-netdev",
              R"({"type":"tap","id":"n","ifname":"tap-real"})",
              "-device",
              R"({"driver":"virtio-net-pci","netdev":"n","mac":"52:54:00:aa:bb:cc"})",
              nullptr);
        return 1;
    });
    char line = 0;
    REQUIRE(read(ready.read_end, &line, 1) == 1);
    const auto find = [&] {
        auto table = read_process_table(never);
        const auto found = std::find_if(
            table.processes.begin(), table.processes.end(), [&](const VmProcess& process) {
                return process.pid == child.pid();
            });
        REQUIRE(found != table.processes.end());
        return *found;
    };
    const auto process = find();
    CHECK(process.name == "real-web01");
    CHECK(process.comm == "qemu-system-x86");
    CHECK(process.owner_uid == geteuid());
    CHECK(process.nics == std::vector<VmNic>{{MacAddress::parse("52:54:00:aa:bb:cc"), "tap-real"}});
    if (is_root("processes of others need no privilege")) {
        const AsNobody other;
        CHECK(find() == process);
    }
}

TEST_CASE("libvirt's files") {
    Tree tree;
    const auto domain = [](const std::string& name, const std::string& device) {
        return "<domstatus pid='7'><domain><name>" + name +
               "</name><devices><interface><target dev='" + device +
               "'/></interface></devices></domain></domstatus>";
    };
    CHECK(read_libvirt_files(never, tree.root()).gaps.empty());
    tree.write("run/libvirt/qemu/web02.xml", domain("web02", "vnet2"));
    tree.write("run/libvirt/qemu/web01.xml", domain("web01", "vnet1"));
    tree.write("run/libvirt/qemu/web01.pid", "7");
    tree.write("run/libvirt/qemu/.xml", domain("hidden", "vnet1"));
    tree.write("run/libvirt/qemu/driver.pid", "7");
    tree.write("run/libvirt/qemu/broken.xml", "<domstatus>");
    tree.write("run/libvirt/qemu/endless.xml", std::string(libvirt_file_bytes_max + 100, ' '));
    tree.write("run/libvirt/qemu/channel/target.xml/x", "");
    tree.write("run/libvirt/lxc/box.xml", domain("box", "vnet3"));
    fs::create_symlink("web01.xml", tree.root() / "run/libvirt/qemu/link.xml");
    fs::create_directory(tree.root() / "run/libvirt/qemu/folder.xml");
    const auto files = read_libvirt_files(never, tree.root());
    REQUIRE(files.domains.size() == 3);
    CHECK(files.domains[0].name == "web01");
    CHECK(files.domains[0].interfaces == std::vector<LibvirtInterface>{{"vnet1", std::nullopt}});
    CHECK(files.domains[1].name == "web02");
    CHECK(files.domains[2].name == "box");
    const std::string each = "/run/libvirt/qemu/*.xml";
    auto gaps = files.gaps;
    std::sort(gaps.begin(), gaps.end(), [](const NameGap& left, const NameGap& right) {
        return left.reason < right.reason;
    });
    CHECK(gaps == std::vector<NameGap>{{each, "Invalid argument", 1},
                                       {each, "Too many levels of symbolic links", 1},
                                       {each, "no domain of libvirt's", 2}});
}

TEST_CASE("libvirt's files without the right to read them") {
    if (!is_root("libvirt's files without privilege")) {
        return;
    }
    Tree tree;
    tree.write("run/libvirt/qemu/a.xml", "<domain><name>a</name></domain>");
    tree.write("run/libvirt/qemu/b.xml", "<domain><name>b</name></domain>");
    tree.write("run/libvirt/lxc/c.xml", "<domain><name>c</name></domain>");
    fs::permissions(tree.root() / "run/libvirt/lxc", fs::perms(0700));
    for (const char* name : {"a.xml", "b.xml"}) {
        fs::permissions(tree.root() / "run/libvirt/qemu" / name, fs::perms(0600));
    }
    const AsNobody other;
    const auto files = read_libvirt_files(never, tree.root());
    CHECK(files.domains.empty());
    CHECK(files.gaps == std::vector<NameGap>{{"/run/libvirt/qemu/*.xml", "Permission denied", 2},
                                             {"/run/libvirt/lxc", "Permission denied", 1}});
}

TEST_CASE("files in the place of namespaces") {
    Tree tree;
    CHECK(read_namespace_names(never, tree.root()).gaps.empty());
    tree.write("run/netns/left-over", "");
    fs::create_directory(tree.root() / "run/netns/folder");
    fs::create_symlink("nowhere", tree.root() / "run/netns/dangling");
    fs::create_symlink("/proc/self/ns/mnt", tree.root() / "run/netns/mount");
    REQUIRE(mkfifo((tree.root() / "run/netns/fifo").c_str(), 0644) == 0);
    const auto found = read_namespace_names(never, tree.root());
    CHECK(found.names.empty());
    CHECK(found.gaps == std::vector<NameGap>{{"/run/netns/*", "Invalid argument", 1}});
}

namespace {

/// In a network namespace of its own: a veth into the namespace of `other`, whose name is asked for
/// before and after. 0: all well.
int ask_for_names(const fs::path& root, pid_t other) {
    const auto before = read_namespace_names(never, root);
    if (!before.names.empty() || !before.gaps.empty()) {
        return 10;
    }
    const std::string add =
        "ip link add rdn0 type veth peer name rdn1 netns " + std::to_string(other);
    if (std::system(add.c_str()) != 0 ||
        std::system("ip -d link show rdn0 | grep -q 'link-netnsid 0 '") != 0) {
        return 11;
    }
    if (seteuid(nobody) != 0) {
        return 12;
    }
    const auto after = read_namespace_names(never, root);
    if (!after.gaps.empty()) {
        return 13;
    }
    const std::vector<NamespaceName> expected{{0, "blue\\x1b"}, {0, "green"}};
    return after.names == expected ? 0 : 14;
}

}  // namespace

TEST_CASE("namespaces by the numbers of their veths") {
    if (!is_root("network namespaces")) {
        return;
    }
    Tree tree;
    fs::create_directories(tree.root() / "run/netns");
    const Pipe ready;
    const Child other([&] {
        if (unshare(CLONE_NEWNET) != 0 || write(ready.write_end, "", 1) != 1) {
            return 1;
        }
        pause();
        return 0;
    });
    char byte = 0;
    REQUIRE(read(ready.read_end, &byte, 1) == 1);
    const int fd = open(("/proc/" + std::to_string(other.pid()) + "/ns/net").c_str(), O_RDONLY);
    REQUIRE(fd >= 0);
    Child asking([&] {
        // Mounts of its own, which go away with it.
        if (unshare(CLONE_NEWNET | CLONE_NEWNS) != 0 ||
            mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
            return 1;
        }
        const std::string from = "/proc/self/fd/" + std::to_string(fd);
        for (const char* name : {"blue\x1b", "green"}) {
            tree.write(fs::path("run/netns") / name, "");
            const std::string to = tree.root() / "run/netns" / name;
            if (mount(from.c_str(), to.c_str(), nullptr, MS_BIND, nullptr) != 0) {
                return 2;
            }
        }
        return ask_for_names(tree.root(), other.pid());
    });
    close(fd);
    CHECK(asking.wait() == 0);
}

TEST_CASE("all evidence in one") {
    Tree tree;
    tree.add_machine(10, "web01");
    tree.write("etc/passwd", "qemu:x:107:107::/:/sbin/nologin\n");
    tree.write("run/libvirt/qemu/web02.xml", "<domain><name>web02</name></domain>");
    const auto evidence = read_name_evidence(never, tree.root());
    REQUIRE(evidence.processes.size() == 1);
    REQUIRE(evidence.domains.size() == 1);
    CHECK(evidence.vm_uids == std::vector<std::uint32_t>{107});
    CHECK(evidence.gaps.size() == 1);  // no process 1
    GuestPort port;
    port.device = "tap5";
    CHECK(identify_guests({port}, evidence).at(0).name == "web01");
}

TEST_CASE("a daemon that ends reads no more names, and says that it is not all") {
    Tree tree;
    tree.add_machine(10, "web01");
    tree.write("proc/1/comm", "init\n");
    tree.write("run/libvirt/qemu/web02.xml", "<domain><name>web02</name></domain>");
    fs::create_symlink(
        "/proc/self/ns/net",
        (fs::create_directories(tree.root() / "run/netns"), tree.root() / "run/netns/blue"));
    REQUIRE(read_name_evidence(never, tree.root()).processes.size() == 1);
    const std::atomic<bool> stop{true};
    const auto evidence = read_name_evidence(stop, tree.root());
    CHECK(evidence.processes.empty());
    CHECK(evidence.domains.empty());
    CHECK(evidence.namespaces.empty());
    CHECK(evidence.gaps == std::vector<NameGap>{{"/proc", "reading took too long", 1},
                                                {"/run/libvirt/qemu", "reading took too long", 1},
                                                {"/run/netns", "reading took too long", 1}});
}

TEST_CASE("a scan under way ends soon after it is told to") {
    Tree tree;
    for (int pid = 2; pid < 20'002; ++pid) {
        tree.write("proc/" + std::to_string(pid) + "/comm", "sleep\n");
    }
    std::atomic<bool> stop{false};
    std::thread later([&stop] {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        stop = true;
    });
    const auto table = read_process_table(stop, tree.root());
    later.join();
    const bool ended_early = std::any_of(table.gaps.begin(), table.gaps.end(), [](const auto& gap) {
        return gap.reason == "reading took too long";
    });
    CHECK(ended_early);
}

TEST_CASE("the run-time file is replaced as a whole") {
    Tree tree;
    RuntimeFile file(tree.root());
    const WallTime now{std::chrono::seconds(1769904000)};
    CHECK(file.load(now).problem.empty());
    CHECK(file.load(now).records.empty());

    GuestAddressRecord record{"vnet7",
                              {},
                              *MacAddress::parse("52:54:00:12:34:56"),
                              *IpAddress::parse("10.0.0.7"),
                              now,
                              now};
    const auto umask_before = umask(0077);
    CHECK_FALSE(file.save(encode_guest_cache({record}, now)));
    umask(umask_before);
    CHECK(file.load(now).records == std::vector{record});
    CHECK((fs::status(file.path()).permissions() & fs::perms::mask) == fs::perms(0640));

    // What a killed run left behind is no obstacle, nor is a link followed.
    tree.write("elsewhere", "untouched");
    fs::create_symlink("elsewhere", tree.root() / ".guests.json.new");
    CHECK_FALSE(file.save(encode_guest_cache({}, now)));
    CHECK(file.load(now).records.empty());
    std::string untouched;
    std::ifstream(tree.root() / "elsewhere") >> untouched;
    CHECK(untouched == "untouched");
    CHECK(std::distance(fs::directory_iterator(tree.root()), fs::directory_iterator()) == 2);
}

TEST_CASE("a run-time file that cannot be used") {
    Tree tree;
    const WallTime now{std::chrono::seconds(1769904000)};
    const RuntimeFile file(tree.root());
    tree.write("guests.json", "{\"version\":2}");
    CHECK(file.load(now).problem ==
          file.path() + " is not used: of a version that this one does not know");
    fs::remove(file.path());
    fs::create_symlink("/etc/passwd", file.path());
    CHECK(file.load(now).problem ==
          file.path() + " is not used: Too many levels of symbolic links");
    fs::remove(file.path());
    fs::create_directory(file.path());
    CHECK(file.load(now).problem == file.path() + " is not used: Invalid argument");
}

TEST_CASE("a run-time directory that is missing is told once") {
    Tree tree;
    RuntimeFile file(tree.root() / "run");
    const auto told = file.save("{}");
    REQUIRE(told);
    CHECK(told->find("guests.json cannot be written: No such file or directory") !=
          std::string::npos);
    CHECK_FALSE(file.save("{}"));
    fs::create_directory(tree.root() / "run");
    CHECK_FALSE(file.save("{}"));
    fs::remove_all(tree.root() / "run");
    CHECK(file.save("{}"));
    // Another reason is news.
    tree.write("run", "a file");
    CHECK(file.save("{}"));
    CHECK_FALSE(file.save("{}"));
}

TEST_CASE("the run-time directory is the service manager's") {
    REQUIRE(setenv("RUNTIME_DIRECTORY", "/run/one:/run/two", 1) == 0);
    CHECK(runtime_directory() == "/run/one");
    REQUIRE(setenv("RUNTIME_DIRECTORY", "", 1) == 0);
    CHECK(runtime_directory() == "/run/reachd");
    REQUIRE(unsetenv("RUNTIME_DIRECTORY") == 0);
    CHECK(runtime_directory() == "/run/reachd");
}

}  // namespace reachd
