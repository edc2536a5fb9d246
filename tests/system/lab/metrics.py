"""A strict little parser of the text exposition format, and questions to one scrape.

It refuses what the format refuses: samples before their TYPE, families in two pieces, the same
series twice. So each scrape of each test is a test of the exposition too.
"""

import re

_SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$')
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(,|$)')
_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


class Malformed(Exception):
    pass


def _labels(text):
    labels, at = {}, 0
    while at < len(text):
        match = _LABEL.match(text, at)
        if not match:
            raise Malformed(f"labels: {text}")
        name, value = match.group(1), match.group(2)
        if name in labels:
            raise Malformed(f"label twice: {text}")
        labels[name] = re.sub(r'\\[\\"n]', lambda escape: _ESCAPES[escape.group()], value)
        at = match.end()
    return labels


def _family_of(sample, types):
    if sample in types:
        return sample
    for suffix in ("_bucket", "_sum", "_count"):
        base = sample.removesuffix(suffix)
        if base != sample and types.get(base) in ("histogram", "summary"):
            return base
    raise Malformed(f"sample without TYPE: {sample}")


class Metrics:
    """One scrape."""

    def __init__(self, text):
        self.text = text
        self.types, self.helps, self.series = {}, {}, {}
        family_now, finished = None, set()
        if not text.endswith("\n"):
            raise Malformed("no line feed at the end")
        for line in text.splitlines():
            if line.startswith("# "):
                word, name, rest = line[2:].split(" ", 2)
                known = {"HELP": self.helps, "TYPE": self.types}[word]
                if name in known:
                    raise Malformed(f"{word} twice: {name}")
                known[name] = rest
                continue
            match = _SAMPLE.match(line)
            if not match:
                raise Malformed(f"line: {line}")
            name = match.group(1)
            family = _family_of(name, self.types)
            if family != family_now:
                if family in finished:
                    raise Malformed(f"family in pieces: {family}")
                finished.add(family)
                family_now = family
            key = (name, frozenset(_labels(match.group(2) or "").items()))
            if key in self.series:
                raise Malformed(f"series twice: {line}")
            self.series[key] = float(match.group(3))
        if missing := set(self.types) - set(self.helps):
            raise Malformed(f"TYPE without HELP: {missing}")

    def all(self, name, **labels):
        """{labels as a dict's sorted tuple: value} of the series that have these labels."""
        wanted = set(labels.items())
        return {tuple(sorted(have)): value for (series, have), value in self.series.items()
                if series == name and wanted <= have}

    def has(self, name, **labels):
        return bool(self.all(name, **labels))

    def get(self, name, default=None, **labels):
        """The value of the one series that has these labels; LookupError if none or several."""
        found = self.all(name, **labels)
        if not found and default is not None:
            return default
        if len(found) != 1:
            raise LookupError(f"{len(found)} series {name}{labels}")
        return next(iter(found.values()))

    def label_values(self, name, label, **labels):
        return sorted(dict(have)[label] for have in self.all(name, **labels))

    def up(self, peer):
        """reachd_peer_up of a peer, or None before the first verdict."""
        values = list(self.all("reachd_peer_up", peer=peer).values())
        assert len(values) <= 1, f"peer {peer} has {len(values)} reachd_peer_up"
        return values[0] if values else None

    def probe(self, peer, **labels):
        """The counters of one ICMP session."""
        return Probe(self, dict(labels, peer=peer, probe="icmp"))

    def total(self, name, **labels):
        return sum(self.all(name, **labels).values())


class Probe:
    """Counters of one session in one scrape, as attributes."""

    def __init__(self, metrics, labels):
        for name in ("sent", "received", "lost", "late", "duplicates", "reordered"):
            setattr(self, name, int(metrics.get(f"reachd_probe_{name}_total", **labels)))
        self.failures = {dict(have)["reason"]: int(value) for have, value in
                         metrics.all("reachd_probe_failures_total", **labels).items()}
        self.rtt_count = int(metrics.get("reachd_probe_rtt_seconds_count", **labels))
        self.rtt_sum = metrics.get("reachd_probe_rtt_seconds_sum", **labels)
        self.jitter = metrics.get("reachd_probe_jitter_seconds", default=0.0, **labels)

    @property
    def in_flight(self):
        return self.sent - self.received - self.lost

    @property
    def rtt_mean(self):
        return self.rtt_sum / self.rtt_count

    def __repr__(self):
        return " ".join(f"{name}={value}" for name, value in vars(self).items())


LOSS_REASONS = {"timeout", "prohibited", "host_unreachable", "net_unreachable", "port_unreachable",
                "ttl_exceeded", "too_big", "neighbour_failed"}
UNSENT_REASONS = {"no_route", "local_firewall", "unresolved", "local_error"}


def check_accounting(probe, in_flight_max=2):
    """sent = received + lost + in flight, lost = the sum of its reasons: at every instant."""
    assert 0 <= probe.in_flight <= in_flight_max, f"in flight {probe.in_flight}: {probe}"
    unknown = set(probe.failures) - LOSS_REASONS - UNSENT_REASONS - {"refused"}
    assert not unknown, f"reasons {unknown}"
    reasons = sum(count for reason, count in probe.failures.items() if reason in LOSS_REASONS)
    assert reasons == probe.lost, f"lost {probe.lost}, its reasons {reasons}: {probe}"
    assert all(probe.failures.values()), f"a reason appears with its first occurrence: {probe}"
