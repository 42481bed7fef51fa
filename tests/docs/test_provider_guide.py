"""The tutorial for provider authors works as it is written."""

from __future__ import annotations

import importlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from dacc_core.cli.main import main
from dacc_core.plugins import new_manager

from ..e2e.clean import Environment
from .pages import ROOT, blocks, shows
from .test_examples import GUIDES, Walk, printed_by, users_home

GUIDE = GUIDES / "write-a-provider.md"
PACKAGE = "dacc-provider-shelf"
MODULE = "src/dacc_shelf/__init__.py"

TOO_LARGE = """
import conformance
import msgspec
import pytest
from dacc_core.sdk import NoSpace


class TestFull(conformance.ProviderConformance):
    provider = "shelf"

    def test_a_brick_that_is_too_full_is_refused(self, bench):
        bench.what["volume"] = msgspec.structs.replace(bench.what["volume"], capacity=1 << 60)
        with pytest.raises(NoSpace, match=r"^dac1:.*/b0 has \\d+ bytes free and 1152921504606846976 are needed: remove files there$"):
            bench.create()
"""


@pytest.fixture(scope="module")
def environment() -> Iterator[Environment]:
    """One with dacc that every user can enter."""
    place = Path(tempfile.mkdtemp(prefix="dacc-docs-env-"))
    place.chmod(0o755)
    yield Environment.make(place / "env")
    shutil.rmtree(place)


@pytest.fixture(scope="module")
def walk(environment: Environment) -> Iterator[Walk]:
    """The tutorial, done once. What pip would do with a network is done without; the source counts, as after `pip install -e`."""
    first, *rest = blocks(GUIDE, "sh tutorial")
    with users_home() as home:
        made = printed_by([first], home, environment.bin)
        environment.install(home / PACKAGE)
        printed = printed_by(rest, home, environment.bin, PYTHONPATH=str(home / PACKAGE / "src"))
        yield Walk([first, *rest], [*made, *printed], [])


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package, freshly made."""
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(main, ["provider", "new", "shelf"]).exit_code == 0
    return tmp_path / PACKAGE


def test_the_tutorial_runs_as_written_and_shows_what_it_says(walk: Walk) -> None:
    for step, printed in zip(walk.steps, walk.printed, strict=True):
        assert shows(step.answer, printed), f"line {step.line} of {GUIDE.name} prints\n{printed}"


def test_what_the_tutorial_installs_is_what_it_made() -> None:
    (install,) = blocks(GUIDE, "sh install")
    assert install.text == f"pip install -e './{PACKAGE}[test]'\n"


@pytest.mark.parametrize("line", [block.line for block in blocks(GUIDE, "python shelf")])
def test_the_code_that_is_explained_is_the_code_that_is_made(package: Path, line: int) -> None:
    (block,) = (block for block in blocks(GUIDE, "python shelf") if block.line == line)
    assert block.text in (package / MODULE).read_text()


def test_the_entry_point_that_is_explained_is_the_one_that_is_made(package: Path) -> None:
    (block,) = blocks(GUIDE, "toml shelf")
    assert block.text in (package / "pyproject.toml").read_text()


def test_the_change_that_is_shown_can_be_made_and_says_what_is_wrong(walk: Walk, environment: Environment, package: Path) -> None:
    (change,) = blocks(GUIDE, "python change")
    source = (package / MODULE).read_text()
    source = re.sub(r"    def create.*?(?=\n    def )", lambda _: change.text, source, flags=re.DOTALL)
    (package / MODULE).write_text(source.replace("    Mount,\n", "    Mount,\n    NoSpace,\n", 1))
    (package / "tests" / "test_full.py").write_text(TOO_LARGE)
    words = ("python", "-m", "pytest", "-p", "no:cacheprovider", "-o", "pythonpath=src")
    assert "7 passed" in environment.run(*words, "tests/test_full.py", cwd=package)


def test_the_observer_of_the_guide_is_one(package: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    (observer,) = blocks(GUIDE, "python observer")
    imports = "import logging\nfrom collections.abc import Mapping\nfrom typing import Any\nlog = logging.getLogger(__name__)\n"
    (package / "src" / "dacc_observing.py").write_text(f"{imports}{(package / MODULE).read_text()}\n{observer.text}")
    monkeypatch.syspath_prepend(package / "src")
    manager = new_manager()
    manager.register(importlib.import_module("dacc_observing"))
    manager.hook.dacc_step_finished(event={"error": "Busy", "step": "mount", "session": "7", "reason": "in use"})
    assert caplog.messages == ["mount of session 7: in use"]


def test_the_readmes_entry_point_is_what_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = blocks(ROOT / "README.md", "toml")
    CliRunner().invoke(main, ["provider", "new", "toy"])
    assert example.text in (tmp_path / "dacc-provider-toy" / "pyproject.toml").read_text()
