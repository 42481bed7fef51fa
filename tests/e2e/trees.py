"""Trees of files that are hard to copy, and what of them must survive. Also a program: prints what it finds under a directory."""

from __future__ import annotations

# Names are bytes here, and pathlib has none of those.
# ruff: noqa: PTH101, PTH103, PTH112, PTH114, PTH115, PTH118, PTH120, PTH123, PTH208, PTH211
import hashlib
import json
import os
import random
import stat
import sys
from pathlib import Path

ODD_NAMES = (b"a b", b"new\nline", b"-rf", b"--delete", b"\xff\xfe", b"*", b"$(x)", b"a;b", b"it's", b'"', b".hidden", b"a:b", b"~", b" ")
HOLE = 1 << 20


def plant(top: Path, uid: int, gid: int, files: int = 2000, seed: int = 1) -> None:
    """Make a tree of ``files`` names: plain and sparse files, links of both kinds, with all modes and times, in 40 directories."""
    chance = random.Random(seed)
    folders = [os.fsencode(top) + b"/d%d" % (number % 8) + b"/e%d" % number for number in range(40)]
    for number in range(files):
        folder = folders[number % 40]
        os.makedirs(folder, exist_ok=True)
        # Each odd name is in the tree some ten times, and each of ten in one directory is another one.
        odd = ODD_NAMES[number // 40 % len(ODD_NAMES)] if number % 40 < 10 else b"file"
        _plant_one(folder + b"/" + odd + b"%d" % number, number, chance)
    _finish(os.fsencode(top), uid, gid, chance)


def _plant_one(path: bytes, number: int, chance: random.Random) -> None:
    kind = number % 25
    before = os.listdir(os.path.dirname(path))
    if kind == 1:
        os.symlink(chance.choice([b"nowhere", b"../..", b"/etc/passwd", b"-x", b"\xff"]), path)
    elif kind == 2 and before:
        other = os.path.join(os.path.dirname(path), before[0])
        os.link(other, path, follow_symlinks=False)
    else:
        with open(path, "wb") as file:
            file.write(chance.randbytes(chance.choice([0, 1, 100, 3000])))
            if kind == 3:
                file.seek(HOLE, os.SEEK_CUR)
                file.write(b"end")


def _finish(top: bytes, uid: int, gid: int, chance: random.Random) -> None:
    """Owners, modes and times, from the leaves up: what is made in a directory changes its time."""
    for folder, folders, names in os.walk(top, topdown=False):
        inside = [os.path.join(folder, name) for name in [*names, *folders]]
        for path in [*(one for one in inside if os.path.islink(one) or not os.path.isdir(one)), folder]:
            os.chown(path, uid, gid, follow_symlinks=False)
            if not os.path.islink(path):
                os.chmod(path, chance.choice([0o500, 0o700, 0o755] if path == folder else [0o400, 0o444, 0o600, 0o644, 0o755]))
            os.utime(path, ns=(0, chance.randrange(10**18, 2 * 10**18)), follow_symlinks=False)


def picture(top: bytes) -> dict[str, str]:
    """All that must survive a copy, by path: type, owner, mode, time, content, holes, and which names are one file."""
    one_file: dict[int, bytes] = {}
    found = {}
    for folder, folders, names in os.walk(top):
        folders.sort()
        for name in sorted([*names, *folders]):
            path = os.path.join(folder, name)
            found[repr(os.path.relpath(path, top))] = _look(path, os.path.relpath(path, top), one_file)
    return found


def _look(path: bytes, name: bytes, one_file: dict[int, bytes]) -> str:
    info = os.lstat(path)
    facts: list[object] = [stat.filemode(info.st_mode), info.st_uid, info.st_gid, info.st_mtime_ns]
    if stat.S_ISLNK(info.st_mode):
        facts.append(os.readlink(path))
    if stat.S_ISREG(info.st_mode):
        with open(path, "rb") as file:
            facts += [info.st_size, hashlib.sha256(file.read()).hexdigest()]
        facts.append("sparse" if info.st_size > HOLE and info.st_blocks * 512 < HOLE // 2 else "")
    if not stat.S_ISDIR(info.st_mode):
        facts.append(one_file.setdefault(info.st_ino, name) if info.st_nlink > 1 else "")
    return repr(facts)


def differences(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """Where two pictures differ, the first twenty places."""
    names = sorted(one.keys() | other.keys())
    return [f"{name}: {one.get(name)} / {other.get(name)}" for name in names if one.get(name) != other.get(name)][:20]


if __name__ == "__main__":
    json.dump(picture(os.fsencode(sys.argv[1])), sys.stdout)
