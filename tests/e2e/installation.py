"""Our programs in a place that every user can get at: an environment that lies in root's home is closed to them."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from .slurm import BIN, NOBODY, as_user

SYSTEM_PYTHON = "/usr/bin/python3"
OURS = {"dacc": ("dacc_core", "fakewarp"), "dacc-provider-fake": ("dacc_fake",), "dacc-provider-gluster": ("dacc_gluster",)}
ENTRY = "#!{python}\nimport sys\nfrom {module} import {main}\nsys.exit({main}())\n"


@dataclass(frozen=True)
class Installation:
    """Where the programs are."""

    bin: Path


@contextmanager
def usable_by_everyone() -> Iterator[tuple[Installation | None, str]]:
    """The running environment if others can use it, else a copy for the system's interpreter; or what is lacking for that."""
    # Through a shell: setpriv itself still has root's rights when it starts a program.
    probe = [*as_user(NOBODY), "sh", "-c", f"exec {BIN}/python3 -I -c 'import fakewarp.frontend, dacc_fake, dacc_gluster'"]
    if subprocess.run(probe, capture_output=True).returncode == 0:
        yield Installation(BIN), ""
    elif _system_version() != sys.version_info[:2]:
        yield None, f"{SYSTEM_PYTHON} of version {sys.version_info[0]}.{sys.version_info[1]}, as the one here is closed to other users"
    else:
        place = Path(tempfile.mkdtemp(prefix="dacc-e2e-programs-"))
        try:
            yield _copy(place), ""
        finally:
            shutil.rmtree(place)


def _system_version() -> tuple[int, int]:
    ask = [SYSTEM_PYTHON, "-c", "import sys; print(*sys.version_info[:2])"]
    try:
        major, minor = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.split()
    except OSError:
        return 0, 0
    return int(major), int(minor)


def _copy(place: Path) -> Installation:
    place.chmod(0o755)
    programs, library = place / "bin", place / "lib" / f"python3.{sys.version_info[1]}" / "site-packages"
    programs.mkdir()
    library.mkdir(parents=True)
    (programs / "python3").symlink_to(SYSTEM_PYTHON)
    (place / "pyvenv.cfg").write_text(f"home = {Path(SYSTEM_PYTHON).parent}\ninclude-system-site-packages = false\n")
    for name in sorted(_needed("dacc") | set(OURS)):
        copy_distribution(name, library)
    _copy_scripts(programs)
    subprocess.run([f"{programs}/python3", "-I", "-m", "compileall", "-q", str(library)], check=True, capture_output=True)
    return Installation(programs)


def _needed(name: str) -> set[str]:
    """A distribution and all that it requires here."""
    names, todo = set[str](), [name]
    while todo:
        one = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if one not in names:
            names.add(one)
            todo += [re.split(r"[^\w.-]", line)[0] for line in metadata.requires(one) or () if ";" not in line]
    return names


def copy_distribution(name: str, library: Path) -> None:
    """Put a distribution that is installed here into another place."""
    found = metadata.distribution(name)
    for file in found.files or ():
        source = Path(str(found.locate_file(file)))
        if ".." not in file.parts and "__pycache__" not in file.parts and source.is_file() and file.suffix != ".pth":
            target = library / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    for package in OURS.get(name, ()):
        _copy_package(package, library)


def _copy_package(package: str, library: Path) -> None:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    if not (library / package).exists():  # an editable distribution has none of its own files
        shutil.copytree(Path(spec.origin).parent, library / package, ignore=shutil.ignore_patterns("__pycache__"))


def _copy_scripts(programs: Path) -> None:
    for name in ("fakewarp", "dwstat"):
        shutil.copy(BIN / name, programs / name)
    for name, module in {"dacc": "dacc_core.cli.main", "dacd": "dacc_core.daemon.main"}.items():
        (programs / name).write_text(ENTRY.format(python=programs / "python3", module=module, main="main"))
    for path in programs.iterdir():
        if not path.is_symlink():
            path.chmod(0o755)
