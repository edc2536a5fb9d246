"""usage: small_buffer.py COMMAND…: runs COMMAND with the kernel's default socket buffers.

Requests for a larger receive buffer are answered with "done" and forgotten (a seccomp filter), as
little as an administrator's net.core.rmem_max of 212,992 would grant. That setting is the whole
machine's, so tests cannot change it.
"""

import ctypes
import os
import platform
import struct
import sys

SOL_SOCKET = 1
SO_RCVBUF = 8
SO_RCVBUFFORCE = 33
SETSOCKOPT = {"x86_64": 54, "aarch64": 208}

PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
SECCOMP_RET_ERRNO = 0x00050000  # errno 0: the call returns 0 without having done anything
SECCOMP_RET_ALLOW = 0x7FFF0000

LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
NUMBER_AT, LEVEL_AT, OPTION_AT = 0, 24, 32  # in struct seccomp_data; low words, little-endian


def instructions():
    yield LOAD, 0, 0, NUMBER_AT
    yield JUMP_IF_EQUAL, 0, 6, SETSOCKOPT[platform.machine()]
    yield LOAD, 0, 0, LEVEL_AT
    yield JUMP_IF_EQUAL, 0, 4, SOL_SOCKET
    yield LOAD, 0, 0, OPTION_AT
    yield JUMP_IF_EQUAL, 1, 0, SO_RCVBUF
    yield JUMP_IF_EQUAL, 0, 1, SO_RCVBUFFORCE
    yield RETURN, 0, 0, SECCOMP_RET_ERRNO
    yield RETURN, 0, 0, SECCOMP_RET_ALLOW


def install():
    libc = ctypes.CDLL(None, use_errno=True)
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in instructions())
    buffer = ctypes.create_string_buffer(code, len(code))
    program = ctypes.create_string_buffer(
        struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer)))
    for arguments in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
                      (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0)):
        if libc.prctl(*arguments) != 0:
            sys.exit(f"small_buffer.py: prctl: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    install()
    os.execvp(sys.argv[1], sys.argv[1:])
