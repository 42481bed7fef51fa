"""The examples work: commands are run, job scripts and configurations are read, the provider is loaded."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dacc_core.config import SYSTEM_FILE, parse_text
from dacc_core.errors import BadConfig, BadDirectives
from dacc_core.plugins import load_provider
from fakewarp.directives import parse_script
from tests.support.requirements import require

from .pages import DOCS, ROOT, Block, blocks, shows

FIRST_JOB = DOCS / "getting-started" / "first-job.md"
GUIDES = DOCS / "guides"
PROGRAMS = Path(sys.executable).parent
NOBODY = 65534
SECONDS = 120.0

# Of root only the permission to read stays: the interpreter may lie in root's home.
AS_USER = (
    "setpriv",
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
    "--inh-caps=+dac_read_search",
    "--ambient-caps=+dac_read_search",
)


# --- getting started ---


@dataclass(frozen=True)
class Walk:
    """Getting started, done once: its steps, what each printed, and the files that were left."""

    steps: list[Block]
    printed: list[str]
    left: list[Path]


@contextlib.contextmanager
def users_home() -> Iterator[Path]:
    """A user's home, short enough for a socket in it."""
    home = Path(tempfile.mkdtemp(prefix="dacc-docs-"))
    (home / "run").mkdir(mode=0o700)
    if os.geteuid() == 0:
        for path in (home, home / "run"):
            os.chown(path, NOBODY, NOBODY)
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def printed_by(steps: list[Block], home: Path, programs: Path = PROGRAMS, **environment: str) -> list[str]:
    """What each step printed when all were done in one shell session."""
    script = "".join(f"printf '\\001'\n{step.text}" for step in steps)
    return as_documented(run_as_user(script, home, programs, **environment)).split("\001")[1:]


@pytest.fixture(scope="module")
def walk() -> Iterator[Walk]:
    require(not Path(SYSTEM_FILE).exists(), f"a machine without {SYSTEM_FILE}")
    with users_home() as home:
        steps = blocks(FIRST_JOB, "sh")
        printed = printed_by(steps, home)
        left = [path for path in home.rglob("*") if path.is_file() and home / "run" not in path.parents]
        yield Walk(steps, printed, left)


def as_documented(output: str) -> str:
    """An output with the user and the host of the page."""
    uid = NOBODY if os.geteuid() == 0 else os.geteuid()
    output = re.sub(rf"\b{uid}\b", "1000", output)
    return re.sub(rf"\b{re.escape(socket.gethostname().partition('.')[0])}\b", "node1", output)


def run_as_user(script: str, home: Path, programs: Path = PROGRAMS, **more: str) -> str:
    """Run a script as one shell session of an ordinary user; what it printed."""
    strange = ("DACC_", "XDG_", "PYTEST", "TOX_", "PYTHONDONTWRITEBYTECODE")  # ours; pytest, too, looks for a place of tox's
    kept = {key: value for key, value in os.environ.items() if not key.startswith(strange)}
    own = {"HOME": str(home), "XDG_RUNTIME_DIR": f"{home}/run", "PATH": f"{programs}:{os.environ['PATH']}", "COLUMNS": "120"}
    environment = kept | own | more
    user = AS_USER if os.geteuid() == 0 else ()
    process = subprocess.Popen(
        [*user, "bash", "-eu", "-c", script],
        cwd=home,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=SECONDS)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert process.returncode == 0, output
    return output


def test_getting_started_runs_as_written_and_shows_what_it_says(walk: Walk) -> None:
    for step, printed in zip(walk.steps, walk.printed, strict=True):
        assert shows(step.answer, printed), f"line {step.line} of {FIRST_JOB.name} prints\n{printed}"


def test_getting_started_leaves_nothing_behind(walk: Walk) -> None:
    assert walk.left == []


def test_what_is_to_be_installed_by_make_is_a_target() -> None:
    (install,) = blocks(FIRST_JOB, "sh install")
    first, second = install.text.splitlines()
    target = first.removeprefix("make ")
    assert re.search(rf"^{target}:.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert second == 'export PATH="$PWD/.venv/bin:$PATH"'


def test_the_readmes_transcript_is_what_the_demo_shows() -> None:
    (transcript,) = blocks(ROOT / "README.md", "text demo")
    run = subprocess.run([PROGRAMS / "dacc", "demo"], capture_output=True, text=True, timeout=SECONDS)
    assert run.returncode == 0, run.stdout + run.stderr
    assert shows(transcript.text, run.stdout), run.stdout


# --- job scripts and configurations ---


def lines_of(kind: str) -> list[int]:
    return [block.line for block in blocks(GUIDES / "job-scripts.md", kind)]


@pytest.mark.parametrize("line", lines_of("bash job"))
def test_a_job_script_of_the_guide_is_accepted(line: int) -> None:
    (script,) = (block for block in blocks(GUIDES / "job-scripts.md", "bash job") if block.line == line)
    directives = parse_script(script.text)
    assert directives != parse_script("")
    assert directives.notes == ()


@pytest.mark.parametrize("line", lines_of("bash refused"))
def test_a_job_script_that_the_guide_calls_wrong_is_refused_with_that_message(line: int) -> None:
    (script,) = (block for block in blocks(GUIDES / "job-scripts.md", "bash refused") if block.line == line)
    with pytest.raises(BadDirectives) as refused:
        parse_script(script.text)
    assert f"{refused.value}\n" == script.answer


def test_the_guides_configuration_is_right_and_its_error_is_what_is_said() -> None:
    (example,) = blocks(GUIDES / "install.md", "yaml config")
    config = parse_text(example.text, SYSTEM_FILE, {})
    assert [brick.device for brick in config.bricks_of("hal1")] == ["/srv/dacc/b0", "/srv/dacc/b1"]
    with pytest.raises(BadConfig) as wrong:
        parse_text(example.text.replace("20GiB", "1.5TiB"), SYSTEM_FILE, {})
    assert f"dacd: {wrong.value}\n" in (GUIDES / "install.md").read_text("utf-8")


@pytest.mark.parametrize("page", [GUIDES / "gluster.md", ROOT / "providers" / "dacc_gluster" / "README.md"], ids=["guide", "README"])
def test_configurations_for_gluster_are_right(page: Path) -> None:
    (example,) = (block for block in blocks(page) if block.info.startswith("yaml"))
    config = parse_text(example.text, SYSTEM_FILE, {})
    assert config.pools["default"].provider == "gluster"
    assert load_provider("gluster", config=config).name == "gluster"


def test_the_guides_configuration_of_several_providers_is_right_and_its_job_goes_to_its_pool() -> None:
    (example,) = blocks(GUIDES / "operate.md", "yaml providers")
    config = parse_text(example.text, SYSTEM_FILE, {})
    served = [(brick.pool, config.pools[brick.pool].provider) for brick in config.bricks_of("dac7")]
    assert served == [("default", "lustre"), ("fast", "my-fs")]
    (job,) = blocks(GUIDES / "operate.md", "bash pools")
    assert "pool='fast'" in repr(parse_script(job.text))
