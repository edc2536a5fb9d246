"""Rows measured in turn (A B A B), round by round, and what is read out of their results.

Ratios compare figures of one round only; medians are over the rounds.
"""
from . import lab, probers, report


def run_rounds(section, rows, rounds, label):
    """{row: [result or None, one a round]} of {row: function without arguments}; a row whose
    program is missing is dropped."""
    results = {name: [] for name in rows}
    for turn in range(rounds):
        for name in list(results):
            report.progress(f"{section.name}, {label}: round {turn + 1} of {rounds}, {name}")
            try:
                result = rows[name]()
            except probers.NotHere as missing:
                section.show(f"{name} left out: {missing}")
                del results[name]
                continue
            except lab.BenchError as error:
                section.show(f"{name}, {label}, round {turn + 1}: {error}")
                result = None
            results[name].append(result)
            section.rows.append({"row": name, "load": label, "round": turn + 1, **(result or {})})
    return results


def column(results, name, key):
    """The values of one row, by round; None where it failed or has no such figure."""
    return [result.get(key) if result else None for result in results.get(name, [])]


def pairwise(results, name, other, key, combine):
    """combine(name's value, other's value) of each round that has both."""
    both = zip(column(results, name, key), column(results, other, key))
    return [combine(mine, theirs) for mine, theirs in both if mine is not None and theirs]


def cpu_ratio(results, name, other):
    """The median of name's CPU time a probe by the other's of the same round."""
    return report.median(pairwise(results, name, other, "cpu_us", lambda a, b: a / b))
