"""Tables, gates and machine facts as text and as plain values for JSON. Measures nothing."""
import os
import pathlib
import platform
import re
import statistics
import sys


def progress(text):
    print(f"... {text}", file=sys.stderr, flush=True)


def machine_facts():
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.M)
    return {"cores": len(os.sched_getaffinity(0)), "cpu": model[1] if model else "unknown",
            "kernel": platform.release(), "load": os.getloadavg()[0]}


def median(values):
    present = [value for value in values if value is not None]
    return statistics.median(present) if present else None


def number(value, digits=1):
    if value is None:
        return "-"
    return f"{value:,.{digits}f}" if isinstance(value, float) else str(value)


def spread(values, digits=1):
    """median (least to most)"""
    present = [value for value in values if value is not None]
    if not present:
        return "-"
    middle = number(float(statistics.median(present)), digits)
    if len(present) == 1:
        return middle
    return f"{middle} ({min(present):,.{digits}f} to {max(present):,.{digits}f})"


def table(head, rows):
    """Text columns: the first to the left, the others to the right."""
    lines = [head] + [list(map(str, row)) for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0])] +
                  [cell.rjust(width) for cell, width in zip(line[1:], widths[1:])]).rstrip()
        for line in lines)


class Section:
    """What one section found: text for people, gates, and the raw rows for JSON."""

    def __init__(self, name):
        self.name = name
        self.text = []
        self.gates = []
        self.rows = []

    def show(self, *lines):
        self.text += lines

    def gate(self, what, value, limit, met, digits=2, goal=None):
        """`met` is None where the value could not be measured."""
        self.gates.append({"what": what, "value": value, "limit": limit, "goal": goal,
                           "met": None if value is None else bool(met), "digits": digits})

    def at_most(self, what, value, limit, unit="", digits=2, goal=None):
        self.gate(what, value, f"<= {limit:g}{unit}", value is not None and value <= limit, digits,
                  f"goal {goal:g}{unit} {'met' if value <= goal else 'NOT MET'}"
                  if goal is not None and value is not None else None)

    def at_least(self, what, value, limit, unit="", digits=2):
        self.gate(what, value, f">= {limit:g}{unit}", value is not None and value >= limit, digits)

    def values(self):
        return {"name": self.name, "text": "\n".join(self.text), "gates": self.gates,
                "rows": self.rows}


def verdict(gate):
    return {None: "not measured", True: "met", False: "NOT MET"}[gate["met"]]


def gate_table(gates):
    return table(["gate", "value", "limit", "verdict", ""],
                 [[gate["what"], number(None if gate["value"] is None else float(gate["value"]),
                                        gate["digits"]),
                   gate["limit"], verdict(gate), gate["goal"] or ""] for gate in gates])
