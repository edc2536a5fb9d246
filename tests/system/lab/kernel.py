"""System calls that Python 3.11 does not offer: setns, unshare, mount, prctl.

Owns no state and no policy. Every failure is an OSError that names the call.
"""

import ctypes
import os
import signal

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000

_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result, call):
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{call}: {os.strerror(code)}")


def setns(descriptor, kind):
    _check(_libc.setns(descriptor, kind), "setns")


def unshare(flags):
    _check(_libc.unshare(flags), "unshare")


def mount(source, target, filesystem, flags, options=None):
    source, target_bytes, filesystem, options = (
        None if text is None else os.fsencode(text)
        for text in (source, target, filesystem, options))
    _check(_libc.mount(source, target_bytes, filesystem, ctypes.c_ulong(flags), options),
           f"mount {target}")


def die_with_parent(parent):
    """For a forked child: be killed when the process `parent` ends, however it ends."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL), "prctl")
    if os.getppid() != parent:
        os._exit(1)
