"""Trees with all that file systems allow, and what must survive a copy of them."""

from __future__ import annotations

# Names are bytes here, and pathlib has none of those.
# ruff: noqa: PTH101, PTH102, PTH115, PTH118, PTH119, PTH123, PTH211
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

ODD_NAMES = [
    b"-e",
    b"--delete",
    b"a b",
    b"new\nline",
    b"a:b",
    b"host::module",
    b"*",
    b"$(x)",
    b"a;reboot",
    b"\xff\xfe",
    b"~",
    b"'",
    b'"',
    b".x",
]


@dataclass(frozen=True)
class Node:
    kind: str
    name: bytes
    mode: int = 0o644
    mtime: int = 1_600_000_000_123_456_789
    data: bytes = b""
    hole: int = 0
    children: tuple[Node, ...] = ()


names = st.one_of(
    st.sampled_from(ODD_NAMES),
    st.binary(min_size=1, max_size=20)
    .map(lambda name: name.replace(b"/", b"_").replace(b"\0", b"_"))
    .filter(lambda n: n not in (b".", b"..")),
)
times = st.integers(min_value=0, max_value=4_000_000_000 * 10**9)
modes = st.sampled_from([0o400, 0o444, 0o600, 0o644, 0o755, 0o2755, 0o4750])
folder_modes = st.sampled_from([0o500, 0o700, 0o755, 0o1777, 0o2750])
targets = st.one_of(st.sampled_from([b"/etc/passwd", b"..", b"nowhere", b"a", b"-x"]), st.binary(min_size=1, max_size=9)).map(
    lambda target: target.replace(b"\0", b"_")
)
files = st.builds(Node, st.just("file"), names, modes, times, st.binary(max_size=300), st.sampled_from([0, 0, 0, 1_000_000]))
links = st.builds(lambda name, target: Node("symlink", name, data=target), names, targets)
others = st.builds(lambda kind, name: Node(kind, name), st.sampled_from(["hardlink", "fifo"]), names)
leaves = st.one_of(files, files, links, others)


def folders(children: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    inside = st.lists(children, max_size=5, unique_by=lambda node: node.name).map(tuple)
    return st.builds(
        lambda name, mode, mtime, inside: Node("folder", name, mode, mtime, children=inside), names, folder_modes, times, inside
    )


trees = folders(st.recursive(leaves, folders, max_leaves=12))


class Planter:
    """Puts a tree on disk as a user's."""

    def __init__(self, uid: int, gid: int) -> None:
        self._owner = (uid, gid)
        self._last_file = b""

    def plant(self, node: Node, path: bytes) -> None:
        match node.kind:
            case "folder":
                os.mkdir(path)
                for child in node.children:
                    self.plant(child, os.path.join(path, child.name))
            case "symlink":
                os.symlink(node.data, path)
            case "fifo":
                os.mkfifo(path)
            case "hardlink" if self._last_file:
                os.link(self._last_file, path)
                return
            case _:
                self._file(node, path)
        self._finish(node, path)

    def _file(self, node: Node, path: bytes) -> None:
        with open(path, "wb") as file:
            file.write(node.data)
            file.seek(node.hole, os.SEEK_CUR)
            file.write(node.data)
        self._last_file = path

    def _finish(self, node: Node, path: bytes) -> None:
        os.chown(path, *self._owner, follow_symlinks=False)
        if node.kind != "symlink":
            os.chmod(path, node.mode)
        os.utime(path, ns=(0, node.mtime), follow_symlinks=False)


def age(top: Path) -> None:
    """Make everything in a tree old, since rsync tells times apart by their seconds only."""
    for path in (top, *top.rglob("*")):
        os.utime(path, ns=(0, 1_600_000_000_123_456_789), follow_symlinks=False)


def plant(node: Node, path: Path, uid: int, gid: int) -> None:
    Planter(uid, gid).plant(node, os.fsencode(path))


def picture(top: Path) -> dict[bytes, tuple[object, ...]]:
    """All that must survive: by path its type, mode, time, content; what shares an inode has one name for it."""
    seen: dict[int, bytes] = {}
    found: dict[bytes, tuple[object, ...]] = {}
    base = os.fsencode(top)
    for folder, inner, files in os.walk(base):
        for name in [b"", *inner, *files] if folder == base else [*inner, *files]:
            path = os.path.join(folder, name).rstrip(b"/")
            found[os.path.relpath(path, base)] = _look(path, seen)
    return dict(sorted(found.items()))


def _look(path: bytes, seen: dict[int, bytes]) -> tuple[object, ...]:
    info = os.lstat(path)
    if stat.S_ISLNK(info.st_mode):
        return "symlink", os.readlink(path), info.st_mtime_ns
    if stat.S_ISREG(info.st_mode):
        with open(path, "rb") as file:
            content = file.read()
        first = seen.setdefault(info.st_ino, os.path.basename(path))
        return oct(info.st_mode), info.st_mtime_ns, content, first
    return oct(info.st_mode), info.st_mtime_ns
