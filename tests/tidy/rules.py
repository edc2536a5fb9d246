"""The rules of the code, as functions from text to violations.

Owns what is forbidden where, and the allow-lists; tidy_test.py proves each rule on bad snippets and
runs them over the tree. Knows nothing of git, of compilers or of the network. It reads C++ by
regular expressions over text without comments and strings: good enough to find what a person would
write, no match for one who hides.
"""

import re
from dataclasses import dataclass

LAYERS = ("common", "probes", "exporters", "agent", "agent/ctl")

# A layer may include itself and these; its io/ folder the same, and their io/ folders.
LAYER_MAY_USE = {
    "common": (),
    "probes": ("common",),
    "exporters": ("common",),
    "agent": ("common", "probes", "exporters"),
    "agent/ctl": ("common", "probes"),  # reachctl: a client of the daemon that can ask by itself
}

# Libraries that a core may include, by the beginning of the path. UAPI headers only name numbers.
CORE_LIBRARIES = {
    "common": ("boost/system/", "linux/", "fmt/"),
    "probes": ("boost/system/", "linux/", "fmt/"),
    "exporters": ("boost/system/", "fmt/", "prometheus/", "nlohmann/"),
    "agent": ("boost/system/", "linux/", "fmt/", "nlohmann/", "expat.h"),
    "agent/ctl": ("boost/system/", "fmt/", "nlohmann/"),
}

# The standard library's own ways to threads, clocks, files and the environment.
CORE_STANDARD_BANNED = {
    "atomic", "barrier", "condition_variable", "csignal", "ctime", "filesystem", "fstream",
    "future", "iostream", "latch", "mutex", "semaphore", "shared_mutex", "stop_token", "syncstream",
    "thread",
}

# (file, what it may include all the same): why.
INCLUDE_ALLOWED = {
    ("common/address.cpp", "arpa/inet.h"): "inet_pton and inet_ntop: text and bytes, no I/O",
    ("agent/netlink_message.cpp", "sys/socket.h"): "AF_INET and AF_INET6: UAPI lacks the numbers",
}

# Cores without a test of their own: why.
UNTESTED_ALLOWED = {
    "agent/agent_peers.cpp": "a part of agent, tested by agent_test and agent_reload_test",
    "agent/config_peers.cpp": "a part of config_json, tested by config_json_test",
    "agent/config_reader.cpp": "a part of config_json, tested by config_json_test",
    "agent/netlink_link_info.cpp": "a part of netlink_link, tested by netlink_link_test",
}

# Files with a function over the limit: why.
LONG_FUNCTION_ALLOWED = {}

COLUMNS_MAX = 100
FUNCTION_LINES_MAX = 70


@dataclass(frozen=True)
class Violation:
    path: str
    line: int
    rule: str
    message: str

    def __str__(self):
        return f"{self.path}:{self.line}: {self.rule}: {self.message}"


# ---------------------------------------------------------------------------------------------
# What kind of file


def layer_of(path):
    """The layer of a product file, the innermost one; None for tests, scripts and the rest."""
    found = [layer for layer in LAYERS if path.startswith(layer + "/")]
    return max(found, key=len, default=None)


def is_cpp(path):
    return path.endswith((".cpp", ".hpp"))


def in_io(path):
    layer = layer_of(path)
    return layer is not None and path.startswith(layer + "/io/")


def is_main(path):
    return layer_of(path) is not None and path.split("/")[-1] == "main.cpp"


def is_core(path):
    return is_cpp(path) and layer_of(path) is not None and not in_io(path) and not is_main(path)


# ---------------------------------------------------------------------------------------------
# Reading C++


_SKIPPED = re.compile(
    r"""//[^\n]*
      | /\*.*?\*/
      | R"(?P<mark>[^()\\\s]{0,16})\(.*?\)(?P=mark)"
      | "(?:\\.|[^"\\\n])*"
      | (?<![0-9a-zA-Z_])'(?:\\.|[^'\\\n])+'
    """,
    re.DOTALL | re.VERBOSE,
)


def code_only(text):
    """The text with comments blanked and literals emptied; each line keeps its number."""

    def blank(match):
        found = match.group(0)
        lines = "\n" * found.count("\n")
        return lines if found.startswith("/") else '""' + lines

    return _SKIPPED.sub(blank, text)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def _matches(path, code, pattern, rule, message):
    return [
        Violation(path, line_of(code, found.start()), rule, message.format(found.group(0).strip()))
        for found in re.finditer(pattern, code)
    ]


@dataclass
class Block:
    """What stands between a pair of braces, and what stood before it."""

    head: str
    start: int
    end: int
    parent: "Block"


def blocks_of(code):
    """Every pair of braces, outer ones first. Unbalanced text gives what can be had."""
    blocks, open_blocks, head_start = [], [], 0
    for found in re.finditer(r"[{};]", code):
        at, sign = found.start(), found.group(0)
        if sign == "{":
            parent = open_blocks[-1] if open_blocks else None
            block = Block(code[head_start:at].strip(), at, len(code), parent)
            blocks.append(block)
            open_blocks.append(block)
        elif sign == "}" and open_blocks:
            open_blocks.pop().end = at
        head_start = at + 1
    return blocks


_SCOPE = re.compile(r"\b(namespace|class|struct|union|enum|extern)\b")


def is_scope(block):
    """A namespace, a class and the like: a block that holds functions but is none."""
    if block is None:
        return True
    head = re.sub(r"\btemplate\s*<[^{}]*>", "", block.head)
    return bool(_SCOPE.search(head)) and ")" not in head.split("=")[0]


def functions_of(code):
    for block in blocks_of(code):
        if is_scope(block) or not is_scope(block.parent):
            continue
        before_arguments = block.head.split("(")[0]
        is_value = "=" in before_arguments and "operator" not in before_arguments
        # After "a_{1}" of an initialiser list, or "= {}" of an argument, the head is its rest.
        is_rest = not block.head or block.head[0] in "),"
        if is_rest or ("(" in block.head and not is_value):
            yield block


# ---------------------------------------------------------------------------------------------
# The rules. Each takes (path, text) and returns violations.


def check_text(path, text):
    """Whitespace and width, for every text file but prose and data."""
    violations = []
    wide = path.endswith((".md", ".json", ".yml", ".yaml"))
    for number, line in enumerate(text.split("\n"), 1):
        if "\t" in line:
            violations.append(Violation(path, number, "tabs", "a tab"))
        if line != line.rstrip():
            violations.append(Violation(path, number, "whitespace", "trailing whitespace"))
        if not wide and len(line) > COLUMNS_MAX:
            message = f"{len(line)} columns, {COLUMNS_MAX} at most"
            violations.append(Violation(path, number, "columns", message))
    if text and not text.endswith("\n"):
        violations.append(Violation(path, text.count("\n") + 1, "whitespace", "no newline at end"))
    return violations


# In pieces, so that this file does not find itself.
_REMINDER = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b(?!.*#\d)")
_MACHINE_PATH = re.compile(r"(?<![\w.}])/(?:ro" r"ot|wo" r"rk|fa" r"rm|ho" r"me/\w+)/")


def check_reminders(path, text):
    return _matches(path, text, _REMINDER, "reminder", "{} without an issue number (#N)")


def check_machine_paths(path, text):
    return _matches(path, text, _MACHINE_PATH, "machine-path", "{}: a path of one machine")


def check_header(path, text):
    if not path.endswith(".hpp"):
        return []
    violations = []
    if not re.match(r"// \S", text):
        message = "a header opens with what it owns and what it refuses to do"
        violations.append(Violation(path, 1, "opening-comment", message))
    if "#pragma once" not in text:
        violations.append(Violation(path, 1, "pragma-once", "no #pragma once"))
    return violations


_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:<([^>\n]+)>|"([^"\n]+)")', re.MULTILINE)


def check_includes(path, text):
    """The layer law and the io/ law, by what is included."""
    layer = layer_of(path)
    if layer is None or not is_cpp(path):
        return []
    violations = []
    for found in _INCLUDE.finditer(text):
        system, own = found.groups()
        complaint = _own_complaint(path, own) if own else _system_complaint(path, system)
        if complaint and (path, system or own) not in INCLUDE_ALLOWED:
            line = line_of(text, found.start())
            violations.append(Violation(path, line, "layer-law", complaint))
    return violations


def _own_complaint(path, header):
    layer = layer_of(path)
    if layer_of(header) is None:
        return f'"{header}" is not of the form "layer/file.hpp"'
    if layer_of(header) not in (layer, *LAYER_MAY_USE[layer]):
        return f'{layer} does not know {layer_of(header)}: "{header}"'
    if in_io(header) and is_core(path):
        return f'only io/ and main.cpp may use io/: "{header}"'
    return None


def _system_complaint(path, header):
    if not is_core(path):
        return None
    standard = re.fullmatch(r"[a-z0-9_]+", header) is not None
    if standard and header not in CORE_STANDARD_BANNED:
        return None
    if header.startswith(CORE_LIBRARIES[layer_of(path)]):
        return None
    return f"<{header}> belongs into io/"


_OUTSIDE_WORLD = re.compile(
    r"\bstd::(?:j?thread|async|this_thread|getenv)\b|[\w:]*\bnow\(\)|\b(?:secure_)?getenv\("
    r"|\b(?:clock_gettime|clock_nanosleep|gettimeofday|nanosleep|usleep|sleep)\("
    r"|(?<![\w.>:])(?:::|std::)time\("
)


def check_outside_world(path, text):
    """Threads, clocks and the environment, by what is called."""
    if not is_core(path):
        return []
    return _matches(path, code_only(text), _OUTSIDE_WORLD, "io-law", "{} outside io/ and main.cpp")


def check_language(path, text):
    """Parts of the language and its library that this project does without."""
    if not is_cpp(path):
        return []
    code = code_only(text)
    violations = _matches(
        path, code, r"\bco_(?:await|return|yield)\b", "coroutines",
        "{}: g++ 12.2 miscompiles some of them; callbacks and plain state machines")
    violations += _matches(
        path, code, r"\bstd::(?:ranges::)?views::\w+", "views", "{}: clang 14 rejects them")
    violations += _matches(path, code, r"\bdetached\b", "detached", "{}: swallows exceptions")
    if layer_of(path) is not None:
        violations += _matches(
            path, code, r"\.value\(\)", "value", "{}: test first, then dereference")
    if path.endswith(".hpp"):
        violations += _matches(
            path, code, r"\busing namespace (?!std::\w*literals\b)[\w:]+", "using-namespace",
            "{} in a header")
    return violations


def check_switches(path, text):
    """A switch over an enumeration names every enumerator, so that -Wswitch finds a new one."""
    if not is_cpp(path):
        return []
    code = code_only(text)
    violations = []
    blocks = blocks_of(code)
    for block in blocks:
        if not re.search(r"\bswitch\s*\([^{}]*\)$", block.head):
            continue
        inner = _without_inner_switches(code, block, blocks)
        found = re.search(r"\bdefault\s*:", inner)
        if found and re.search(r"\bcase\s+(?:\w+::)*[A-Z]\w*::\w+\s*:", inner):
            violations.append(Violation(
                path, line_of(code, block.start + found.start()), "enum-switch",
                "a switch over an enumeration has no default"))
    return violations


def _without_inner_switches(code, block, blocks):
    inner = code[block.start:block.end]
    for other in blocks:
        nested = block.start < other.start and other.end < block.end
        if nested and re.search(r"\bswitch\s*\([^{}]*\)$", other.head):
            size = other.end - other.start
            at = other.start - block.start
            inner = inner[:at] + re.sub(r"[^\n]", " ", inner[at:at + size]) + inner[at + size:]
    return inner


def check_function_size(path, text):
    if not is_cpp(path) or path in LONG_FUNCTION_ALLOWED:
        return []
    code = code_only(text)
    violations = []
    for block in functions_of(code):
        lines = code.count("\n", block.start, block.end) + 1
        # A test case may hold a table; a function that takes part in one may not.
        if lines > FUNCTION_LINES_MAX and not re.search(r"\b[A-Z_]*TEST_CASE\b", block.head):
            message = f"{lines} lines, {FUNCTION_LINES_MAX} at most"
            violations.append(
                Violation(path, line_of(code, block.start), "function-size", message))
    return violations


FILE_RULES = (
    check_text,
    check_reminders,
    check_machine_paths,
    check_header,
    check_includes,
    check_outside_world,
    check_language,
    check_switches,
    check_function_size,
)


def check_file(path, text):
    return [violation for rule in FILE_RULES for violation in rule(path, text)]


def check_tests_exist(paths):
    """Every core source has its test: probes/x.cpp is tested by tests/probes/x_test.cpp."""
    present = set(paths)
    violations = []
    for path in sorted(paths):
        if not path.endswith(".cpp") or not is_core(path) or path in UNTESTED_ALLOWED:
            continue
        test = "tests/" + path.removesuffix(".cpp") + "_test.cpp"
        if test not in present:
            violations.append(Violation(path, 1, "untested", f"{test} is missing"))
    return violations


def check_allow_lists(paths, read):
    """An exception that nobody needs any more goes away."""
    violations = []
    for path, header in INCLUDE_ALLOWED:
        if path not in paths or f"<{header}>" not in read(path):
            violations.append(Violation(path, 1, "allow-list", f"<{header}> is no longer needed"))
    for path in (*UNTESTED_ALLOWED, *LONG_FUNCTION_ALLOWED):
        if path not in paths:
            violations.append(Violation(path, 1, "allow-list", "no such file"))
    return violations
