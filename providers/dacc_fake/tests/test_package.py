"""The package: how it is found, its settings, what it may import, and the backing that does nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from dacc_core.sdk import InvalidRequest, RestoreProvider, SwapProvider, UsageProvider

import dacc_fake
from dacc_fake import FakeProvider, FakeSettings, Fault
from dacc_fake.provider import PROGRAMS

if TYPE_CHECKING:
    from conftest import Site

SOURCES = sorted(Path(dacc_fake.__file__).parent.rglob("*.py"))


def test_it_is_found_by_its_name() -> None:
    (found,) = entry_points(group="dacc.providers", name="fake")

    assert found.load().dacc_register_provider() is FakeProvider


def test_it_has_all_optional_operations() -> None:
    provider = FakeProvider(FakeSettings(backing="none"))

    assert isinstance(provider, SwapProvider)
    assert isinstance(provider, UsageProvider)
    assert isinstance(provider, RestoreProvider)


def imports(path: Path) -> list[str]:
    """The modules that a file imports."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom) and not node.level:
            found += [f"{node.module}.{alias.name}" if node.module == "dacc_core" else str(node.module) for alias in node.names]
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_of_dacc_it_imports_only_the_sdk(path: Path) -> None:
    assert {name for name in imports(path) if name.startswith(("dacc_core", "fakewarp")) and not name.startswith("dacc_core.sdk")} == set()


@pytest.mark.parametrize("part", PROGRAMS)
def test_its_programs_are_python_3_6(part: str) -> None:
    ast.parse(PROGRAMS[part].text, feature_version=(3, 6))


@pytest.mark.parametrize("part", PROGRAMS)
def test_a_program_loads_what_takes_long_only_where_it_is_needed(part: str) -> None:
    text = f"{PROGRAMS[part].text}\nprint(*sys.modules)\n"
    done = subprocess.run([sys.executable, "-I", "-S", "-"], input=text.encode(), capture_output=True, check=True)

    assert {"typing", "subprocess", "shutil", "hashlib", "threading"}.isdisjoint(done.stdout.decode().split())
    assert b"json" in done.stdout


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"backing": "zfs"}, "choose one of auto, image, directory, none"),
        ({"root": "hosts/%h"}, "root 'hosts/%h' of the fake provider: give an absolute path"),
        ({"fault_dir": "faults"}, "fault_dir 'faults'"),
        ({"faults": [{"call": "nonsense"}]}, r"faults\[0\]"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        FakeSettings(**settings)


def test_faults_may_be_mappings_or_objects() -> None:
    settings = FakeSettings(faults=({"call": "mount", "host": "c2"}, Fault(call="mount", host="c2")))

    assert settings.faults[0] == settings.faults[1]


def test_backing_none_runs_no_command(bare: Site) -> None:
    bare.check()
    assert bare.create() == bare.capacity
    assert not bare.mount("c1", "c2", private=True, link=bare.link).failed
    assert not bare.swap("swap_on").failed
    assert not bare.swap("swap_off").failed
    assert not bare.unmount("c1", "c2", link=bare.link).failed
    assert bare.provider.usage(bare.whole()) == {"capacity": bare.capacity, "used": 0}
    bare.provider.restore(bare.whole())
    bare.delete()


def test_backing_none_says_that_nothing_is_real(bare: Site) -> None:
    found = bare.provider.capabilities

    assert (found.capacity_enforced, found.swap) == (False, False)


def test_images_are_real(image: Site) -> None:
    image.configure(backing="auto")

    found = image.provider.capabilities

    assert (found.capacity_enforced, found.swap) == (True, True)
