"""The preloaded library's control file: what the syncs and the wall clock of one host do (shim.cc reads it)."""

import errno
import mmap
import os
import struct


class Shim:
    LAYOUT = struct.Struct("=qii")

    def __init__(self, path, library):
        self.path, self.library = path, library
        path.write_bytes(bytes(self.LAYOUT.size))
        with open(path, "r+b") as file:
            self._memory = mmap.mmap(file.fileno(), self.LAYOUT.size)
        self._values = [0, 0, 0]

    def environment(self):
        return {"LD_PRELOAD": os.fspath(self.library), "CHAOS_SHIM": os.fspath(self.path)}

    def _set(self, place, value):
        self._values[place] = value
        self._memory[:] = self.LAYOUT.pack(*self._values)

    def clock(self, offset_seconds):
        self._set(0, offset_seconds)

    def sync_fails(self, fails):
        self._set(1, errno.EIO if fails else 0)

    def sync_takes(self, milliseconds):
        self._set(2, milliseconds)
