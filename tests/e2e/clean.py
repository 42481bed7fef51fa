"""An environment of its own, with dacc and providers from their wheels and nothing of this tree on its path. Needs no network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from .installation import ENTRY, copy_distribution

ROOT = Path(__file__).resolve().parent.parent.parent
VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"


@dataclass(frozen=True)
class Environment:
    """Where it is. What dacc and pytest need is there; they were copied, as an index may be out of reach."""

    place: Path

    @classmethod
    def make(cls, place: Path) -> Environment:
        """A new one, with dacc."""
        made = cls(place)
        run(sys.executable, "-m", "venv", "--without-pip", str(place))
        library = place / "lib" / VERSION / "site-packages"
        for name in sorted((needed("dacc") | needed("pytest")) - {"dacc"}):
            copy_distribution(name, library)
        (made.bin / "pytest").write_text(ENTRY.format(python=made.bin / "python", module="pytest", main="console_main"))
        (made.bin / "pytest").chmod(0o755)
        made.install(ROOT)
        return made

    @property
    def bin(self) -> Path:
        """Its programs."""
        return self.place / "bin"

    def install(self, source: Path) -> None:
        """Install a package's wheel. Fails if it requires what is not here."""
        wheels = self.place / "wheels" / source.name
        run(sys.executable, "-m", "pip", "wheel", *QUIET, "--no-build-isolation", "--no-deps", "--wheel-dir", str(wheels), str(source))
        (wheel,) = wheels.iterdir()
        run(sys.executable, "-m", "pip", "--python", str(self.bin / "python"), "install", *QUIET, str(wheel))

    def run(self, *words: str | Path, cwd: Path = Path("/")) -> str:
        """What one of its programs prints; it must succeed."""
        return run(str(self.bin / words[0]), *map(str, words[1:]), cwd=cwd)


QUIET = ("--quiet", "--no-index", "--disable-pip-version-check")


def run(*words: str, cwd: Path = Path("/")) -> str:
    """What a program prints, without what our own environment tells Python."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST", "TOX", "DACC", "COV"))}
    done = subprocess.run(words, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    assert done.returncode == 0, done.stdout
    return done.stdout


def needed(name: str) -> set[str]:
    """A distribution and all that it requires here, extras left out."""
    names, todo = set[str](), [name]
    while todo:
        one = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if one not in names:
            names.add(one)
            required = map(Requirement, metadata.requires(one) or ())
            todo += [each.name for each in required if each.marker is None or each.marker.evaluate({"extra": ""})]
    return names
