"""Declaring tests: @test on a function that takes a Lab; skip() where it cannot run."""

TESTS = []

# Scrapes share a snapshot for a quarter of a second, and the timer that ends it is no exact one.
SNAPSHOT_AGE = 0.27


class Skipped(Exception):
    """The test cannot run here, and says why. In CI as root that is a failure."""


class Test:
    def __init__(self, function, alone, quick, within):
        self.function = function
        self.module = function.__module__
        self.name = f"{function.__module__.removeprefix('test_')}.{function.__name__}"
        self.alone = alone    # judges times: nothing else may run beside it
        self.quick = quick    # part of --quick
        self.within = within  # seconds until it is ended and failed


def test(function=None, *, alone=False, quick=False, within=60):
    def declare(body):
        TESTS.append(Test(body, alone, quick, within))
        return body
    return declare(function) if function else declare


def skip(reason):
    raise Skipped(reason)
