"""Parts of tests/bench/run: lab (processes, /proc, pages), probers, netlink, sections, report."""
