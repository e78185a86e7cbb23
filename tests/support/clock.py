"""A wall clock that a test can set, for whole processes: gRPC's C core reads it too.

A small library is compiled and put before the C library's own (LD_PRELOAD). Linux only.
"""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_SOURCE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static const volatile int64_t *ahead;

__attribute__((constructor)) static void find(void) {
    int file = open(getenv("CLOCK_AHEAD"), O_RDONLY);
    if (file >= 0) ahead = mmap(0, 8, PROT_READ, MAP_SHARED, file, 0);
}
static int64_t seconds(void) { return ahead ? *ahead : 0; }

int clock_gettime(clockid_t id, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(id, now);
    if (!failed && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) now->tv_sec += seconds();
    return failed;
}
int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    int failed = clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return failed;
}
time_t time(time_t *where) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (where) *where = exact.tv_sec;
    return exact.tv_sec;
}
"""


class WallClock:
    """The wall clock of processes that get `environment`.

    Attributes:
        environment: variables for them.
    """

    def __init__(self, folder: Path) -> None:
        (folder / "clock.c").write_text(_SOURCE)
        library = folder / "clock.so"
        command = ["cc", "-shared", "-fPIC", "-o", str(library), str(folder / "clock.c"), "-ldl"]
        subprocess.run(command, check=True, capture_output=True)
        file = folder / "ahead"
        file.write_bytes(bytes(8))
        with file.open("r+b") as opened:
            self._ahead = mmap.mmap(opened.fileno(), 8)
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_AHEAD": str(file)}

    def jump(self, seconds: int) -> None:
        """Set it so far ahead of the true time; behind it, where negative."""
        self._ahead[:] = struct.pack("q", seconds)


def missing() -> str:
    """Why there can be no such clock here; empty if there can."""
    if not sys.platform.startswith("linux"):
        return "LD_PRELOAD is Linux's"
    return "" if shutil.which("cc") else "there is no C compiler"
