"""A directory whose files are slow to look at, as on a network's file server: FUSE by hand.

It lists many names; looking one up takes its time and finds nothing. Lives as long as the test's
process, and is seen by what that starts from then on.
"""

import errno
import os
import struct
import threading
import time

from . import kernel, testing

LOOKUP, FORGET, GETATTR, INIT, OPENDIR, READDIR = 1, 2, 3, 26, 27, 28
RELEASEDIR, INTERRUPT, BATCH_FORGET = 29, 36, 42  # linux/fuse.h
UNANSWERED = (FORGET, INTERRUPT, BATCH_FORGET)
DIRECTORY_MODE, FILE_TYPE = 0o040755, 8
PROTOCOL = (7, 31)
REQUEST_BYTES_MAX = 1 << 20


class SlowFiles:
    """/run/libvirt/qemu as this process and its children see it; the rest of /run is empty."""

    def __init__(self, lab, names, seconds_each):
        self._names, self._seconds = names, seconds_each
        self.looked_up = 0
        try:
            self._device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
            kernel.unshare(kernel.CLONE_NEWNS)
            kernel.mount(None, "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
            kernel.mount("none", "/run", "tmpfs", 0)
            path = "/run/libvirt/qemu"
            os.makedirs(path)
            kernel.mount("slow", path, "fuse", 0, f"fd={self._device},rootmode=40000,"
                         f"user_id=0,group_id=0,allow_other")
        except OSError as error:
            testing.skip(f"no slow files: {error}")
        lab.at_end(lambda: os.close(self._device))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                request = os.read(self._device, REQUEST_BYTES_MAX)
            except OSError:
                return  # it is over
            _, operation, number = struct.unpack_from("=IIQ", request)
            if operation in UNANSWERED:
                continue
            error, body = self._answer(operation, request[40:])
            head = struct.pack("=IiQ", 16 + len(body), -error, number)
            try:
                os.write(self._device, head + body)
            except OSError:
                pass  # who asked has ended

    def _answer(self, operation, arguments):
        """(errno, the body of the answer)."""
        if operation == INIT:
            return 0, struct.pack("=IIIIHHII", *PROTOCOL, 0, 0, 1, 1, 4096, 1).ljust(64, b"\0")
        if operation == GETATTR:
            return 0, struct.pack("=QII6Q10I", 1, 0, 0, 1, *5 * [0], *3 * [0], DIRECTORY_MODE, 2,
                                  *5 * [0])
        if operation == OPENDIR:
            return 0, bytes(16)
        if operation == READDIR:
            return 0, self._entries(*struct.unpack_from("=QQI", arguments)[1:])
        if operation == LOOKUP:
            self.looked_up += 1
            time.sleep(self._seconds)
            return errno.ENOENT, b""
        return (0 if operation == RELEASEDIR else errno.ENOSYS), b""

    def _entries(self, begin, size):
        body = b""
        for place, name in list(enumerate(self._names))[begin:]:
            text = name.encode()
            entry = struct.pack("=QQII", place + 2, place + 1, len(text), FILE_TYPE) + text
            entry += bytes(-len(entry) % 8)
            if len(body) + len(entry) > size:
                break
            body += entry
        return body
