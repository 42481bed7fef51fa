"""Programs whose time of day is wrong, as on a machine whose clock nobody sets; their other clocks and what they wait by are right.

libfaketime would do, but its clock_nanosleep refuses to sleep by a clock that it leaves alone, which Python's sleep does (0.9.10).
"""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.support.requirements import require

HOUR = 3600
LIBRARY = r"""
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static time_t wrong(void) { char *by = getenv("CLOCK_WRONG_BY"); return by ? atol(by) : 0; }

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += wrong();
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    int result = syscall(SYS_gettimeofday, now, zone);
    now->tv_sec += wrong();
    return result;
}

time_t time(time_t *place)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (place)
        *place = now.tv_sec;
    return now.tv_sec;
}
"""


@functools.cache
def _library() -> Path:
    require(shutil.which("cc") is not None, "a C compiler")
    directory = Path(tempfile.mkdtemp(prefix="wrong-clock-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    directory.chmod(0o755)  # programs of all users load it
    source, library = directory / "clock.c", directory / "clock.so"
    source.write_text(LIBRARY)
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
    return library


def wrong_by(seconds: int) -> dict[str, str]:
    """The environment of a program whose time of day is so many seconds ahead, or behind if they are less than none."""
    return {"LD_PRELOAD": str(_library()), "CLOCK_WRONG_BY": str(seconds)} if seconds else {}
