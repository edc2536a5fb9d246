"""A helper program: many guests behind taps, in one process.

Its test-side end is guest.TapCrowd. Arguments: guests, a list of {tap, mac, addresses}.
"""

import collections

from .program import serve
from .tap_guest import Guest


class Crowd:
    def __init__(self, selector, guests):
        self._guests = [Guest(selector, **guest, deaf_to_others=True) for guest in guests]

    def announce(self):
        """Every address of every guest."""
        for guest in self._guests:
            for address in guest.addresses():
                guest.announce(address)

    def counts(self):
        total = collections.Counter()
        for guest in self._guests:
            total.update(guest.counts())
        return total

    def ask_one(self, place, command, **arguments):
        return getattr(self._guests[place], command)(**arguments)


def start(selector, **arguments):
    crowd = Crowd(selector, **arguments)
    return {"announce": crowd.announce, "counts": crowd.counts, "ask_one": crowd.ask_one}


if __name__ == "__main__":
    serve(start)
