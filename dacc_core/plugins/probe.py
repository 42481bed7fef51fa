"""Importing a provider's package in a process of its own first, as an import may hang, or end the interpreter."""

from __future__ import annotations

import re
import subprocess
import sys

from . import discovery
from .discovery import CannotLoad, DiscoveredPlugin

SECONDS = 30.0
# faulthandler says where it hangs; what an import raises is told by whoever imports it next.
_CHILD = """
import faulthandler, importlib, sys
sys.path[:] = sys.argv[3:]
faulthandler.dump_traceback_later(float(sys.argv[2]), exit=True)
try:
    importlib.import_module(sys.argv[1])
except BaseException:
    pass
faulthandler.cancel_dump_traceback_later()
print("imported", flush=True)
"""
_FRAME = re.compile(r'File "([^"]+)", line (\d+) in <module>')


def probe_provider(name: str) -> None:
    """Raise ProviderLoadError when importing the packages that offer ``name`` hangs or ends the interpreter. Other errors pass."""
    for one in discovery.find(discovery.PROVIDERS, name):
        try:
            _probe(one, SECONDS)
        except CannotLoad as problem:
            raise one.provider_error(problem) from problem


def _probe(one: DiscoveredPlugin, seconds: float) -> None:
    fix = f"report it to the authors of {one.package}"
    words = [sys.executable, "-P", "-c", _CHILD, one.entry_point.module, str(seconds), *sys.path]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds + 10.0, check=False)
    except subprocess.TimeoutExpired as error:
        raise CannotLoad(f"its import did not end within {seconds:g} s and could not be interrupted", fix) from error
    said = done.stderr.decode("utf-8", "replace")
    if "Timeout (" in said and done.stdout != b"imported\n":
        frames = _FRAME.findall(said)
        where = f" (it hangs at {frames[0][0]}:{frames[0][1]})" if frames else ""
        raise CannotLoad(f"its import did not end within {seconds:g} s{where}", fix)
    if not done.stdout.endswith(b"imported\n"):
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit status {done.returncode}"
        raise CannotLoad(f"its import ended the interpreter with {how}", fix)
