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
from dacc_core.errors import BadConfig, BadDirectives, Unsupported
from dacc_core.hosts.local import LocalRunner
from dacc_core.plugins import list_providers, load_provider
from dacc_core.sdk import BrickRef, Context, Create, Deadline, Delete, Mount, Unmount, Volume
from fakewarp.directives import parse_script

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


@pytest.fixture(scope="module")
def walk() -> Iterator[Walk]:
    need(not Path(SYSTEM_FILE).exists(), f"a machine without {SYSTEM_FILE}")
    # A user's home, short enough for a socket in it.
    home = Path(tempfile.mkdtemp(prefix="dacc-docs-"))
    (home / "run").mkdir(mode=0o700)
    if os.geteuid() == 0:
        for path in (home, home / "run"):
            os.chown(path, NOBODY, NOBODY)
    try:
        steps = blocks(FIRST_JOB, "sh")
        output = run_as_user("".join(f"printf '\\001'\n{step.text}" for step in steps), home)
        left = [path for path in home.rglob("*") if path.is_file() and home / "run" not in path.parents]
        yield Walk(steps, as_documented(output).split("\001")[1:], left)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def as_documented(output: str) -> str:
    """An output with the user and the host of the page."""
    uid = NOBODY if os.geteuid() == 0 else os.geteuid()
    output = re.sub(rf"\b{uid}\b", "1000", output)
    return re.sub(rf"\b{re.escape(socket.gethostname().partition('.')[0])}\b", "node1", output)


def need(condition: bool, what: str) -> None:
    if not condition:
        pytest.fail(f"needs {what}") if os.environ.get("DACC_REQUIRE_ALL") == "1" else pytest.skip(f"needs {what}")


def run_as_user(script: str, home: Path) -> str:
    """Run a script as one shell session of an ordinary user; what it printed."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("DACC_", "XDG_")) and key != "PYTHONDONTWRITEBYTECODE"}
    environment = kept | {"HOME": str(home), "XDG_RUNTIME_DIR": f"{home}/run", "PATH": f"{PROGRAMS}:{os.environ['PATH']}", "COLUMNS": "120"}
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


# --- the provider ---


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The guide's provider as if it were installed; its name."""
    (module,) = blocks(GUIDES / "write-a-provider.md", "python provider")
    (tmp_path / "dacc_toy.py").write_text(module.text)
    metadata = tmp_path / "dacc_provider_toy-0.1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: dacc-provider-toy\nVersion: 0.1.0\n")
    (metadata / "entry_points.txt").write_text("[dacc.providers]\ntoy = dacc_toy\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "dacc_toy", raising=False)
    return "toy"


def test_the_guides_provider_is_listed_as_usable(toy: str) -> None:
    (row,) = (row for row in list_providers() if row.name == toy)
    assert (row.state, row.reason) == ("ok", "")


def test_the_guides_provider_works_and_every_call_can_be_repeated(toy: str, tmp_path: Path) -> None:
    provider = load_provider(toy, {})
    (tmp_path / "b0").mkdir()
    bricks = (BrickRef(host="s1", device=str(tmp_path / "b0")),)
    volume = Volume(name="a0010000", pool="default", provider=toy, capacity=1, bricks=bricks)
    context = Context(hosts=LocalRunner(fence_dir=tmp_path / "fence"), deadline=Deadline.after(60.0))
    path, link = tmp_path / "mnt" / "7_job", ""
    owner, group = os.geteuid(), os.getegid()
    for _ in range(2):
        state = provider.create(Create(context=context, volume=volume, owner=owner, group=group)).state
    mount = Mount(context=context, volume=volume, state=state, hosts=("c1",), path=str(path), owner=owner, group=group)
    for _ in range(2):
        assert provider.mount(mount).failed == {}
    assert (path / "global").stat().st_mode & 0o777 == 0o700
    for _ in range(2):
        unmount = Unmount(context=context, volume=volume, state=state, hosts=("c1",), path=str(path), link=link)
        assert provider.unmount(unmount).failed == {}
    assert not path.exists()
    for _ in range(2):
        provider.delete(Delete(context=context, volume=volume, state={}))
    assert list((tmp_path / "b0").iterdir()) == []


def test_the_guides_provider_refuses_what_it_cannot_do(toy: str, tmp_path: Path) -> None:
    volume = Volume(name="a0010000", pool="default", provider=toy, capacity=1, bricks=())
    context = Context(hosts=LocalRunner(fence_dir=tmp_path / "fence"), deadline=Deadline.after(60.0))
    with pytest.raises(Unsupported, match="private"):
        load_provider(toy, {}).mount(Mount(context=context, volume=volume, state={}, hosts=("c1",), path="/x", private=True))


def test_the_readmes_entry_point_is_the_guides() -> None:
    (example,) = blocks(ROOT / "README.md", "toml")
    (package,) = blocks(GUIDES / "write-a-provider.md", "toml provider")
    assert example.text in package.text
