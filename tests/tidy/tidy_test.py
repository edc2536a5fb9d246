#!/usr/bin/env python3
"""The rules of the code as a test: first that each rule finds what it is for, then the tree.

Prints each violation as file:line: rule: message.
"""

import os
import re
import shutil
import subprocess
import unittest

import rules

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SKIPPED_FOLDERS = {".git", ".cache", "build", "__pycache__"}
# Inputs and expected outputs are what they are; the licence is not ours to format.
DATA = re.compile(r"^(LICENSE|tests/fuzz/corpus/.*|tests/golden/.*(?<!\.cpp))$")


def tree():
    """Every text file of the project but data, as {path: text}."""
    files = {}
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(set(folders) - SKIPPED_FOLDERS)
        for name in sorted(names):
            path = os.path.relpath(os.path.join(folder, name), ROOT)
            if DATA.match(path) or os.path.islink(os.path.join(ROOT, path)):
                continue
            with open(os.path.join(ROOT, path), "rb") as file:
                content = file.read()
            if b"\0" not in content:
                files[path] = content.decode("utf-8")
    return files


def found(path, text):
    """The rules that a snippet breaks, as if it stood in the file `path`."""
    return sorted({violation.rule for violation in rules.check_file(path, text)})


def cpp(*lines):
    return "\n".join(lines) + "\n"


class RulesFindWhatTheyAreFor(unittest.TestCase):
    def test_text(self):
        self.assertEqual(found("a.cpp", "int a;\n"), [])
        self.assertEqual(found("a.cpp", "int a;"), ["whitespace"])
        self.assertEqual(found("a.cpp", "int a; \n"), ["whitespace"])
        self.assertEqual(found("a.cpp", "\tint a;\n"), ["tabs"])
        self.assertEqual(found("a.cpp", "x" * 100 + "\n"), [])
        self.assertEqual(found("a.cpp", "x" * 101 + "\n"), ["columns"])
        self.assertEqual(found("a.py", "é" * 100 + "\n"), [])
        self.assertEqual(found("A.md", "x" * 101 + "\n"), [])

    def test_reminders(self):
        word = "TO" + "DO"
        self.assertEqual(found("a.py", f"# {word}: later\n"), ["reminder"])
        self.assertEqual(found("a.cpp", f"// {word} #12: later\n"), [])

    def test_machine_paths(self):
        self.assertEqual(found("a.md", "see /wo" + "rk/x.md\n"), ["machine-path"])
        self.assertEqual(found("a.md", "see /ho" + "me/me/x.md\n"), ["machine-path"])
        self.assertEqual(found("a.md", "see /etc/reachd/reachd.json and net" + "work/x.md\n"), [])

    def test_headers(self):
        self.assertEqual(found("common/a.hpp", "// Owns a.\n#pragma once\n"), [])
        self.assertEqual(found("common/a.hpp", "#pragma once\n"), ["opening-comment"])
        self.assertEqual(found("common/a.hpp", "// Owns a.\nint a;\n"), ["pragma-once"])

    def test_layer_law(self):
        def include(path, header):
            return found(path, f"#include {header}\n")

        self.assertEqual(include("probes/a.cpp", '"common/time.hpp"'), [])
        self.assertEqual(include("agent/a.cpp", '"exporters/a.hpp"'), [])
        self.assertEqual(include("common/a.cpp", '"probes/a.hpp"'), ["layer-law"])
        self.assertEqual(include("exporters/a.cpp", '"probes/a.hpp"'), ["layer-law"])
        self.assertEqual(include("probes/io/a.cpp", '"exporters/a.hpp"'), ["layer-law"])
        self.assertEqual(include("probes/a.cpp", '"a.hpp"'), ["layer-law"])
        self.assertEqual(include("probes/a.cpp", '"../common/a.hpp"'), ["layer-law"])
        self.assertEqual(include("probes/a.cpp", '"tests/a.hpp"'), ["layer-law"])

    def test_a_layer_in_a_layer(self):
        def include(path, header):
            return found(path, f"#include {header}\n")

        self.assertEqual(rules.layer_of("agent/ctl/a.cpp"), "agent/ctl")
        self.assertEqual(rules.layer_of("agent/ctlx.cpp"), "agent")
        self.assertTrue(rules.in_io("agent/ctl/io/a.cpp"))
        self.assertTrue(rules.is_main("agent/ctl/main.cpp"))
        self.assertTrue(rules.is_core("agent/ctl/a.cpp"))
        self.assertEqual(include("agent/ctl/a.cpp", '"agent/ctl/b.hpp"'), [])
        self.assertEqual(include("agent/ctl/a.cpp", '"common/b.hpp"'), [])
        self.assertEqual(include("agent/ctl/a.cpp", '"probes/b.hpp"'), [])
        self.assertEqual(include("agent/ctl/io/a.cpp", '"probes/io/b.hpp"'), [])
        self.assertEqual(include("agent/ctl/a.cpp", "<nlohmann/json.hpp>"), [])
        self.assertEqual(include("agent/ctl/io/a.cpp", '"common/io/b.hpp"'), [])
        self.assertEqual(include("agent/ctl/io/a.cpp", "<sys/socket.h>"), [])
        self.assertEqual(include("agent/ctl/main.cpp", '"agent/ctl/io/b.hpp"'), [])
        for path, header in (("agent/ctl/a.cpp", '"agent/b.hpp"'),
                             ("agent/ctl/a.cpp", '"exporters/b.hpp"'),
                             ("agent/ctl/io/a.cpp", '"agent/io/b.hpp"'),
                             ("agent/ctl/a.cpp", '"agent/ctl/io/b.hpp"'),
                             ("agent/ctl/a.cpp", "<sys/socket.h>"),
                             ("agent/a.cpp", '"agent/ctl/b.hpp"'),
                             ("agent/io/a.cpp", '"agent/ctl/io/b.hpp"')):
            with self.subTest(path, header=header):
                self.assertEqual(include(path, header), ["layer-law"])
        self.assertEqual(found("agent/ctl/a.cpp", "std::getenv(x);\n"), ["io-law"])
        missing = rules.check_tests_exist(["agent/ctl/a.cpp", "agent/ctl/io/b.cpp"])
        self.assertEqual([violation.path for violation in missing], ["agent/ctl/a.cpp"])

    def test_io_law_by_include(self):
        def include(path, header):
            return found(path, f"  #  include {header}\n")

        self.assertEqual(include("probes/a.cpp", '"probes/io/a.hpp"'), ["layer-law"])
        self.assertEqual(include("probes/io/a.cpp", '"probes/io/a.hpp"'), [])
        self.assertEqual(include("agent/main.cpp", '"agent/io/daemon.hpp"'), [])
        self.assertEqual(include("probes/a.cpp", "<vector>"), [])
        self.assertEqual(include("probes/a.cpp", "<linux/icmp.h>"), [])
        for header in ("sys/socket.h", "arpa/inet.h", "boost/asio.hpp", "netlink/netlink.h",
                       "systemd/sd-daemon.h", "unistd.h", "thread", "mutex", "fstream", "ctime"):
            with self.subTest(header):
                self.assertEqual(include("probes/a.cpp", f"<{header}>"), ["layer-law"])
                self.assertEqual(include("probes/io/a.cpp", f"<{header}>"), [])
        self.assertEqual(include("common/address.cpp", "<arpa/inet.h>"), [])
        self.assertEqual(include("common/other.cpp", "<arpa/inet.h>"), ["layer-law"])
        self.assertEqual(include("common/a.cpp", "<nlohmann/json.hpp>"), ["layer-law"])
        self.assertEqual(include("agent/a.cpp", "<nlohmann/json.hpp>"), [])

    def test_io_law_by_call(self):
        for call in ("std::thread t(f);", "std::jthread t(f);", "std::async(f);",
                     "auto t = std::chrono::steady_clock::now();", "auto t = Clock::now();",
                     "clock_gettime(0, &t);", "::gettimeofday(&t, 0);", "std::getenv(name);",
                     "auto t = std::time(nullptr);", "usleep(1);"):
            with self.subTest(call):
                self.assertEqual(found("agent/a.cpp", f"{call}\n"), ["io-law"])
                self.assertEqual(found("agent/io/a.cpp", f"{call}\n"), [])
                self.assertEqual(found("agent/main.cpp", f"{call}\n"), [])
        self.assertEqual(found("agent/a.cpp", "// steady_clock::now()\n"), [])
        self.assertEqual(found("agent/a.cpp", 'log("getenv(x)");\n'), [])
        self.assertEqual(found("agent/a.cpp", "f(now); send_time(now); x.time(1);\n"), [])

    def test_language(self):
        self.assertEqual(found("agent/io/a.cpp", "co_await f();\n"), ["coroutines"])
        self.assertEqual(found("agent/a.cpp", "co_return;\n"), ["coroutines"])
        self.assertEqual(found("agent/a.cpp", "// no co_await here\n"), [])
        self.assertEqual(found("agent/a.cpp", "auto v = std::views::all;\n"), ["views"])
        self.assertEqual(found("agent/io/a.cpp", "co_spawn(x, detached);\n"), ["detached"])
        self.assertEqual(found("agent/a.cpp", "use(result.value());\n"), ["value"])
        self.assertEqual(found("agent/a.cpp", 'json.value("a", 1);\n'), [])
        self.assertEqual(found("tests/a.cpp", "using namespace reachd;\n"), [])
        header = "// Owns a.\n#pragma once\nusing namespace reachd;\n"
        self.assertEqual(found("tests/a.hpp", header), ["using-namespace"])

    def test_enum_switch(self):
        switch = cpp("void f() {", "    switch (kind) {", "        case Kind::a: return;",
                     "        default: return;", "    }", "}")
        self.assertEqual(found("agent/a.cpp", switch), ["enum-switch"])
        self.assertEqual(rules.check_switches("agent/a.cpp", switch)[0].line, 4)
        self.assertEqual(found("agent/a.cpp", switch.replace("default", "case Kind::b")), [])
        self.assertEqual(found("agent/a.cpp", switch.replace("Kind::a", "'a'")), [])

    def test_nested_switches_are_judged_apart(self):
        nested = cpp("void f() {", "    switch (kind) {", "        case Kind::a:",
                     "            switch (character) {", "                case 'x': return;",
                     "                default: return;", "            }", "    }", "}")
        self.assertEqual(found("agent/a.cpp", nested), [])

    def test_function_size(self):
        def body(head, lines):
            return cpp("namespace reachd {", head, *["    work();"] * (lines - 2), "}", "}")

        for head in ("int f(int a) {", "C::C(int a) : a_{a} {", "C::C(int a) : a_{a}, b_(a) {",
                     "void f(A a = {}) {", "auto f() -> std::array<int, 2> {",
                     "C& C::operator=(C&& other) noexcept {", 'extern "C" int f(int a) {'):
            with self.subTest(head):
                self.assertEqual(found("agent/a.cpp", body(head, 70)), [])
                self.assertEqual(found("agent/a.cpp", body(head, 71)), ["function-size"])
        self.assertEqual(found("agent/a.cpp", body("struct S {", 90)), [])
        self.assertEqual(found("tests/agent/a_test.cpp", body('TEST_CASE("a") {', 90)), [])
        method = cpp("class C {", "    void f() {", *["    work();"] * 70, "    }", "};")
        self.assertEqual(found("agent/a.cpp", method), ["function-size"])

    def test_literals_do_not_confuse(self):
        tricky = cpp("char a = '{';", 'auto b = R"({ co_await )";', 'auto c = "\\"{ // ";',
                     "int d = 1'000'000; /* { */", "void f() {", "}")
        self.assertEqual(found("agent/a.cpp", tricky), [])
        self.assertEqual([block.head for block in rules.blocks_of(rules.code_only(tricky))],
                         ["void f()"])

    def test_untested_core(self):
        paths = ["probes/a.cpp", "probes/io/b.cpp", "agent/main.cpp", "tests/probes/c_test.cpp"]
        violations = rules.check_tests_exist(paths)
        self.assertEqual([violation.path for violation in violations], ["probes/a.cpp"])
        self.assertEqual(rules.check_tests_exist([*paths, "tests/probes/a_test.cpp"]), [])

    def test_stale_allow_list(self):
        path, header = next(iter(rules.INCLUDE_ALLOWED))
        paths = {path for path, _ in rules.INCLUDE_ALLOWED}
        paths |= {*rules.UNTESTED_ALLOWED, *rules.LONG_FUNCTION_ALLOWED}
        needed = "".join(f"<{h}>" for _, h in rules.INCLUDE_ALLOWED)
        self.assertEqual(rules.check_allow_lists(paths, lambda _: needed), [])
        rest = needed.replace(f"<{header}>", "")
        self.assertIn(path, [v.path for v in rules.check_allow_lists(paths, lambda _: rest)])


class TheTree(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.files = tree()

    def expect_none(self, violations):
        for violation in violations:
            print(violation)
        if violations:
            self.fail(f"{len(violations)} violations, listed above")

    def test_files(self):
        self.assertIn("common/time.hpp", self.files)
        self.expect_none([
            violation for path, text in self.files.items()
            for violation in rules.check_file(path, text)])

    def test_every_core_has_a_test(self):
        self.expect_none(rules.check_tests_exist(list(self.files)))

    def test_allow_lists(self):
        self.expect_none(rules.check_allow_lists(set(self.files), self.files.get))

    def test_scripts_can_be_run(self):
        self.expect_none([
            rules.Violation(path, 1, "run-bit", "has a #! line, but cannot be executed")
            for path, text in self.files.items()
            if text.startswith("#!") and not os.access(os.path.join(ROOT, path), os.X_OK)])

    def test_scripts_parse(self):
        for path, text in self.files.items():
            with self.subTest(path):
                if path.endswith(".py") or re.match(r"#!.*\bpython", text):
                    compile(text, path, "exec")
                elif shell := re.match(r"#!.*\b(bash|sh)\b", text):
                    subprocess.run([shell.group(1), "-n", os.path.join(ROOT, path)], check=True)

    def test_format(self):
        formatter = shutil.which("clang-format-14")
        if formatter is None:
            self.skipTest("clang-format-14 is missing (Debian package clang-format)")
        sources = [path for path in self.files if rules.is_cpp(path)]
        result = subprocess.run(
            [formatter, "--dry-run", *sources], cwd=ROOT, capture_output=True, text=True)
        complaints = re.findall(r"^(\S+?):(\d+):\d+: (?:warning|error): ",
                                result.stderr, re.MULTILINE)
        self.assertEqual((result.returncode, bool(result.stderr)), (0, bool(complaints)))
        places = sorted({(path, int(line)) for path, line in complaints})
        self.expect_none([
            rules.Violation(path, line, "format", "run clang-format -i") for path, line in places])


if __name__ == "__main__":
    unittest.main()
