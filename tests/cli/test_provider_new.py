"""`dacc provider new`: a whole package, or one line and nothing."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dacc_core.cli import scaffolding
from dacc_core.cli.main import main
from dacc_core.config import parse_text
from dacc_core.plugins import ProviderRow

PROGRAMS = Path(sys.executable).parent


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def new(*words: str) -> Result:
    return CliRunner().invoke(main, ["provider", "new", *words])


def refusal(*words: str) -> tuple[int, str]:
    """The exit code and the one line of a refusal."""
    result = new(*words)
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return result.exit_code, line


def test_a_package_is_named_after_its_provider(here: Path) -> None:
    assert new("my-fs").exit_code == 0
    project = tomllib.loads((here / "dacc-provider-my-fs" / "pyproject.toml").read_text())["project"]
    assert project["name"] == "dacc-provider-my-fs"
    assert project["entry-points"]["dacc.providers"] == {"my-fs": "dacc_my_fs"}
    assert "class MyFsProvider(Provider):" in (here / "dacc-provider-my-fs/src/dacc_my_fs/__init__.py").read_text()


def test_every_file_is_named_and_what_comes_next_is_said(here: Path) -> None:
    lines = new("toy").stdout.splitlines()
    files = {str(path.relative_to(here / "dacc-provider-toy")) for path in (here / "dacc-provider-toy").rglob("*") if path.is_file()}
    assert lines[0] == "dacc-provider-toy:"
    assert {line.strip() for line in lines[1:-1]} == files
    assert {"README.md", "pyproject.toml", "tox.ini", ".github/workflows/test.yml", "tests/test_provider.py"} <= files
    assert lines[-1] == "next: pip install -e 'dacc-provider-toy[test]', dacc providers show toy, pytest dacc-provider-toy"


def test_no_placeholder_and_no_template_is_left(here: Path) -> None:
    new("toy")
    for path in here.rglob("*"):
        assert not path.name.endswith(scaffolding.SUFFIX)
        assert "@" not in path.name
        if path.is_file():
            assert "@TOY" not in path.read_text()
            assert not any(f"@{word}@" in path.read_text() for word in ("NAME", "MODULE", "CAMEL"))


def test_the_configuration_in_its_readme_is_right(here: Path) -> None:
    new("my-fs")
    (example,) = re.findall(r"```yaml\n(.*?)```", (here / "dacc-provider-my-fs" / "README.md").read_text(), re.DOTALL)
    config = parse_text(example, "dacc.yaml", {})
    assert config.pools["default"].provider == "my-fs"
    assert config.providers["my-fs"] == {"command_seconds": 30}


def test_another_directory_can_be_given(here: Path) -> None:
    (here / "work").mkdir()
    assert new("toy", "work/mine").exit_code == 0
    assert (here / "work" / "mine" / "pyproject.toml").exists()


@pytest.mark.parametrize("name", ["Toy", "1toy", "toy_fs", "toy--fs", "-toy", "toy-", "../toy", "to y", "töy", "toy\n", "", "t" * 33])
def test_a_bad_name_is_refused(here: Path, name: str) -> None:
    rc, line = refusal("--", name)
    assert rc == 12
    assert line.endswith(": use up to 32 lower-case letters, digits and single hyphens, with a letter first")
    assert list(here.iterdir()) == []


def test_a_name_that_is_offered_already_is_refused_with_who_offers_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = ProviderRow("toy", "dacc-toy-ng", "1.2", "toy = dacc_toy", "", "disabled")
    monkeypatch.setattr(scaffolding, "list_providers", lambda disabled, name: [row])
    assert refusal("toy") == (12, "dacc: provider name 'toy': dacc-toy-ng 1.2 offers it: choose another one")
    assert list(here.iterdir()) == []


def test_a_name_whose_module_exists_is_refused(here: Path) -> None:
    assert refusal("core") == (12, "dacc: provider name 'core': there is a module dacc_core already: choose another one")


@pytest.mark.parametrize("kind", ["directory", "file", "dangling link"])
def test_what_exists_is_left_as_it_is(here: Path, kind: str) -> None:
    place = here / "dacc-provider-toy"
    if kind == "directory":
        place.mkdir()
    elif kind == "file":
        place.touch()
    else:
        place.symlink_to("nowhere")
    assert refusal("toy") == (30, "dacc: dacc-provider-toy exists: give another directory as DIR, or move it away")
    assert list(here.iterdir()) == [place]
    assert not place.is_dir() or list(place.iterdir()) == []


@pytest.mark.parametrize("directory", [".", "..", "/"])
def test_a_directory_without_a_name_of_its_own_is_refused(here: Path, directory: str) -> None:
    assert refusal("toy", directory)[0] == 30


def test_the_directory_around_it_must_exist(here: Path) -> None:
    assert refusal("toy", "no/where") == (20, "dacc: directory no does not exist: make it first, or give another DIR")


def test_nothing_is_left_when_it_cannot_be_written(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = scaffolding._write
    written: list[str] = []

    def fail(*args: object) -> str:
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        written.append(write(*args))  # type: ignore[arg-type]
        return written[-1]

    monkeypatch.setattr(scaffolding, "_write", fail)
    text = "dacc: directory dacc-provider-toy cannot be made: No space left on device: give another one as DIR"
    assert refusal("toy") == (10, text)
    assert len(written) == 3
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("command", [("ruff", "check"), ("ruff", "format", "--check"), ("mypy", "--strict", "src")], ids=" ".join)
@pytest.mark.parametrize("name", ["a", "my-fs", "t" * 32])
def test_a_new_package_is_clean(here: Path, command: tuple[str, ...], name: str) -> None:
    new(name, "made")
    run = subprocess.run([PROGRAMS / command[0], *command[1:]], cwd=here / "made", capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
