"""The verbs in this very process, when no daemon listens: straight on the keystore that the configuration names.

It answers reads, records goals and waits for the daemons to pursue them. It never makes a store, and what it cannot know it does not say:
without the right store it prints one line and no JSON, since an empty list would make Slurm drop every buffer.
"""

from __future__ import annotations

import os
import pwd
import sys
import time
from pathlib import Path

from dacc_core.config import Config, load
from dacc_core.errors import DaccError
from dacc_core.keystore.open import open_store
from dacc_core.verbs.frontend import Answer, Call, FrontEnd, ParsedCall, PeerCredentials
from dacc_core.verbs.standalone import StandaloneRunner

from . import thin

SHORTEST_CALL = 0.5


def main(frontend: FrontEnd, args: list[str]) -> int:
    """Run one call; its exit code. Nothing ever reaches standard error, which is Slurm's standard output."""
    parsed: ParsedCall | None = None
    try:
        config = load()
        files, missing = _files(args)
        parsed = frontend.parse(Call(tuple(args), files, _caller(config), missing=missing))
        answer = _run(frontend, parsed, config)
    except Exception as error:
        answer = frontend.failure(parsed, error)
    return _deliver(frontend, answer, args)


def _run(frontend: FrontEnd, parsed: ParsedCall, config: Config) -> Answer:
    store = open_store(config)
    try:
        runner = StandaloneRunner(store, config, max(SHORTEST_CALL, parsed.function.seconds(config) - _age()))
        return runner.run(frontend.run(parsed, runner.context), parsed.token)
    finally:
        store.close()


def _age() -> float:
    """Seconds since this process was started: it was the thin client until that had waited long enough for a daemon."""
    started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started)


def _files(args: list[str]) -> tuple[dict[str, str], frozenset[str]]:
    """What the named files hold, and which of them do not exist."""
    named = {thin.FILE_OPTIONS[name]: value for name, value in thin.options(args) if name in thin.FILE_OPTIONS}
    contents = {kind: thin.contents_of(path) for kind, path in named.items()}
    missing = frozenset(kind for kind, text in contents.items() if text is None and thin.is_missing(named[kind]))
    return {kind: text for kind, text in contents.items() if text is not None}, missing


def _caller(config: Config) -> PeerCredentials:
    """Ourselves. Whoever may open the store may do what Slurm's user or the store's owner may."""
    uid = os.geteuid()
    return PeerCredentials(uid=uid, gid=os.getegid(), pid=os.getpid(), trusted=uid in (0, _slurm_uid(config), _owner(config)))


def _slurm_uid(config: Config) -> int:
    try:
        return config.slurm_user if isinstance(config.slurm_user, int) else pwd.getpwnam(config.slurm_user).pw_uid
    except KeyError:
        return -1


def _owner(config: Config) -> int:
    """Of the store's file, where there is one."""
    if not config.keystore.path:
        return -1
    try:
        return Path(config.keystore.path).stat().st_uid
    except OSError:
        return -1


def _deliver(frontend: FrontEnd, answer: Answer, args: list[str]) -> int:
    try:
        return thin.deliver({"rc": answer.rc, "stdout": answer.stdout, "pathfile": answer.pathfile}, thin.option(args, "--pathfile"))
    except (thin.ThinFailure, DaccError) as error:
        return thin.complain(frontend.name, error)


def run(frontend: FrontEnd) -> None:
    """The process's ``main``: run, and leave without waiting for anything."""
    try:
        status = main(frontend, sys.argv[1:])
    except BaseException as error:
        status = thin.complain(frontend.name, error)
    os._exit(status)
