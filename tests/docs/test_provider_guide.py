"""The tutorial for provider authors works as it is written."""

from __future__ import annotations

import importlib
import re
import shutil
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from dacc_core.cli.main import main
from dacc_core.hosts.local import LocalRunner
from dacc_core.plugins import new_manager
from dacc_core.sdk import BrickRef
from dacc_core.testing import Scratch

from ..e2e.clean import Environment
from .pages import ROOT, blocks, shows
from .test_examples import GUIDES, Walk, printed_by, users_home

GUIDE = GUIDES / "write-a-provider.md"
PACKAGE = "dacc-provider-shelf"
MODULE = "src/dacc_shelf/__init__.py"
NODE = "src/dacc_shelf/node.py"

TOO_LARGE = """
import msgspec
from dacc_core.sdk import NoSpace
from dacc_core.testing import ProviderConformance


def enormous(volume):
    return msgspec.structs.replace(volume, capacity=1 << 60)


class TestFull(ProviderConformance):
    provider = "shelf"

{check}
        assert str(outcome.error).endswith(" bytes free and 1152921504606846976 are needed: remove files there")
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


def test_the_verb_that_is_explained_is_the_one_that_is_made(package: Path) -> None:
    (block,) = blocks(GUIDE, "python node")
    assert block.text in (package / NODE).read_text()


def test_the_entry_point_that_is_explained_is_the_one_that_is_made(package: Path) -> None:
    (block,) = blocks(GUIDE, "toml shelf")
    assert block.text in (package / "pyproject.toml").read_text()


def test_the_change_that_is_shown_can_be_made_and_says_what_is_wrong(walk: Walk, environment: Environment, package: Path) -> None:
    (change,) = blocks(GUIDE, "python change")
    source = (package / NODE).read_text()
    (package / NODE).write_text(re.sub(r'@verb\("create"\).*?(?=\n\n@verb)', lambda _: change.text, source, flags=re.DOTALL))
    (check,) = blocks(GUIDE, "python tested")
    (package / "tests" / "test_full.py").write_text(TOO_LARGE.format(check=check.text))
    words = ("python", "-m", "pytest", "-p", "no:cacheprovider", "-o", "pythonpath=src")
    chosen = "too_full or the_volume_is_there_on_each_host or data_is_there"
    assert "3 passed" in environment.run(*words, "tests/test_full.py", "-k", chosen, cwd=package)


def test_the_tests_that_are_shown_are_those_that_are_made(package: Path) -> None:
    (block,) = blocks(GUIDE, "python tests")
    assert block.text in (package / "tests" / "test_provider.py").read_text()


def test_a_fixture_of_the_authors_own_gives_the_scratch_resources() -> None:
    (block,) = blocks(GUIDE, "python scratch")
    made = Scratch(LocalRunner(fence_dir="/nonexistent"), (BrickRef(host="b1", device="/dev/x"),), ("c1", "c2"))
    found = SimpleNamespace(runner=made.runner, bricks=made.bricks)
    names: dict[str, Any] = {"pytest": SimpleNamespace(fixture=lambda function: function), "Scratch": Scratch}
    names["my_test_cluster"] = lambda _: nullcontext(found)
    exec(textwrap.dedent(block.text), names)
    (scratch,) = names["scratch"](None, "/tmp/x")
    assert scratch == replace(made, mount_root="/tmp/x/mnt")


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
