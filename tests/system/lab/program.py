"""A helper program beside a test: both ends of the pipe between them.

The test's end is Program; the helper's is serve(). They exchange one line of JSON each way: a
command with its arguments, and its result. The helper lives as long as its standard input, and at
most as long as the test.
"""

import json
import os
import selectors
import subprocess
import sys


class ProgramFailed(Exception):
    pass


class Program:
    """A module of this package, run in a namespace as a process of its own."""

    def __init__(self, namespace, name, **arguments):
        self._name = name
        above = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
        self._process = namespace.popen(
            [sys.executable, "-B", "-m", f"{__package__}.{name}", json.dumps(arguments)],
            cwd=above, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self._result()

    @property
    def pid(self):
        return self._process.pid

    def ask(self, command, /, **arguments):
        """The result of a command; done when this returns."""
        self._process.stdin.write(json.dumps([command, arguments]) + "\n")
        return self._result()

    def _result(self):
        line = self._process.stdout.readline()
        if not line:
            raise ProgramFailed(f"{self._name} ended with {self._process.wait()}")
        outcome = json.loads(line)
        if "error" in outcome:
            raise ProgramFailed(f"{self._name}: {outcome['error']}")
        return outcome["result"]

    def close(self):
        """Ends it."""
        self._process.kill()
        self._process.wait()


def _tell(**outcome):
    sys.stdout.write(json.dumps(outcome) + "\n")
    sys.stdout.flush()


def _obey(line, commands):
    name, arguments = json.loads(line)
    try:
        _tell(result=commands[name](**arguments))
    except Exception as error:  # the test shall read it, whatever it is
        _tell(error=f"{name}: {type(error).__name__}: {error}")


def serve(start):
    """The helper's main. start(selector, **arguments) returns its commands by name.

    What start registers with the selector has a callable as its data, called when it is readable.
    A command "tick", where there is one, is called every 10 ms.
    """
    selector = selectors.DefaultSelector()
    try:
        commands = start(selector, **json.loads(sys.argv[1]))
    except Exception as error:
        _tell(error=f"start: {type(error).__name__}: {error}")
        sys.exit(1)
    tick = commands.get("tick")
    selector.register(sys.stdin.fileno(), selectors.EVENT_READ, None)
    _tell(result="ready")
    pending = b""
    while True:
        for key, _ in selector.select(0.01 if tick else None):
            if key.data:
                key.data()
                continue
            data = os.read(key.fd, 65536)
            if not data:
                return
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                _obey(line, commands)
        if tick:
            tick()
