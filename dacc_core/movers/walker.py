"""Look at file trees on the mover host: what is there, what may be read, whether a copy is one.

This text is sent to ``python3 -I -S -`` (3.6 or newer, standard library only), runs there as the user, and prints
one JSON document. Trees are compared where they are, so a million files cost no traffic. Its working directory is
the root of the buffer; paths in the buffer are relative (``./…``), so that directories above it may be closed to
the user. Paths are bytes. The kernel resolves them, by opening them, with the user's permissions.

The user may do with this process what he likes, and so with its answer: nothing that root does may depend on it.
"""

# It runs under Python 3.6, and on millions of files: os with bytes, no pathlib.
# ruff: noqa: PTH101, PTH102, PTH103, PTH110, PTH112, PTH114, PTH115, PTH116, PTH118, PTH119, PTH120, PTH123, PTH208

import errno
import json
import os
import re
import stat
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator  # noqa: UP035 - Python 3.6 has them nowhere else

MAX_SHOWN = 5
MAX_COUNT = (1 << 63) - 1  # what a record can hold
DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class PairRefused(Exception):
    """A pair that cannot be copied: kind (missing, denied, full, wrong), the path at fault, the reason."""

    def __init__(self, kind: str, path: bytes, why: str) -> None:
        self.kind = kind
        self.path = path
        self.why = why


def refusal(error: "PairRefused | OSError", path: bytes, side: str) -> "dict[str, Any]":
    """An error as an answer; ``side`` (source or destination) is the one that we worked on."""
    if isinstance(error, PairRefused):
        return {"refused": error.kind, "path": error.path, "why": error.why, "side": side}
    name = error.filename if isinstance(error.filename, bytes) else path
    kinds = {errno.ENOENT: "missing", errno.EACCES: "denied", errno.EPERM: "denied", errno.ENOSPC: "full", errno.EDQUOT: "full"}
    return {"refused": kinds.get(error.errno or 0, "wrong"), "path": name, "why": error.strerror or str(error), "side": side}


# Names ----------------------------------------------------------------------------------------------------------


def resolve(path: bytes) -> bytes:
    """The absolute path, without symbolic links, of something that exists."""
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        return os.readlink(b"/proc/self/fd/%d" % fd)
    finally:
        os.close(fd)


def landing(path: bytes) -> bytes:
    """The same for something that need not exist yet."""
    tail = b""
    while True:
        try:
            return resolve(path).rstrip(b"/") + tail or b"/"
        except FileNotFoundError:
            pass
        path = path.rstrip(b"/")
        if os.path.islink(path):
            raise PairRefused("wrong", path, "is a symbolic link to something that does not exist")
        path, name = os.path.split(path)
        if name == b"..":
            raise PairRefused("wrong", path, "goes up (..) from a directory that does not exist")
        if name not in (b"", b"."):
            tail = b"/" + name + tail
        path = path or b"."


def in_buffer(path: bytes) -> bytes:
    """The path relative to the buffer's root, our working directory."""
    root = resolve(b".").rstrip(b"/") + b"/"
    if not (path + b"/").startswith(root):
        raise PairRefused("wrong", path, "leads outside of its buffer")
    return b"./" + path[len(root) :]


def origin_of(kind: str, source: bytes, staging_in: bool) -> bytes:
    """The source resolved. Raises PairRefused, OSError."""
    origin = resolve(source)
    mode = os.stat(source).st_mode
    folder = stat.S_ISDIR(mode)
    if not folder and not stat.S_ISREG(mode):
        raise PairRefused("wrong", source, "is neither a file nor a directory")
    if folder and kind == "file":
        raise PairRefused("wrong", source, "is a directory: say type=directory")
    if not folder and kind == "directory":
        raise PairRefused("wrong", source, "is not a directory: say type=file")
    return origin if staging_in else in_buffer(origin)


def target_of(source: bytes, origin: bytes, destination: bytes, staging_in: bool) -> bytes:
    """The destination resolved; a file lands in a directory under its own name, as with cp. Raises PairRefused, OSError."""
    folder = os.path.isdir(origin)
    target = landing(destination)
    if not folder and (destination.endswith(b"/") or os.path.isdir(destination)):
        target = landing(destination.rstrip(b"/") + b"/" + os.path.basename(source.rstrip(b"/")))
    if (target + b"/").startswith(resolve(origin).rstrip(b"/") + b"/"):
        raise PairRefused("wrong", destination, "is inside of its source")
    if staging_in:
        target = in_buffer(target)
    if os.path.exists(target) and os.path.isdir(target) != folder:
        raise PairRefused("wrong", destination, "is not a directory" if folder else "is a directory")
    return target


# Trees ----------------------------------------------------------------------------------------------------------


def entries(top: bytes, unreadable: "Callable[[bytes, OSError], None]") -> "Iterator[tuple[bytes, os.stat_result]]":
    """(path below top, lstat) of everything in a tree, the top first as b"". ``unreadable`` is called for errors."""
    info = os.lstat(top)
    yield b"", info
    todo = [b""] if stat.S_ISDIR(info.st_mode) else []
    while todo:
        below = todo.pop()
        try:
            with os.scandir(os.path.join(top, below)) as directory:
                for entry in directory:
                    path = os.path.join(below, entry.name)
                    info = entry.stat(follow_symlinks=False)
                    yield path, info
                    if stat.S_ISDIR(info.st_mode):
                        todo.append(path)
        except OSError as error:
            unreadable(os.path.join(top, below), error)


def is_device(info: os.stat_result) -> bool:
    """Devices are not copied: a user may not make them."""
    return stat.S_ISBLK(info.st_mode) or stat.S_ISCHR(info.st_mode)


class Tally:
    """Counts files and bytes; what has several names counts its bytes once."""

    def __init__(self) -> None:
        self.files = 0
        self.bytes = 0
        self.seen = set()  # type: set[tuple[int, int]]

    def new(self, info: os.stat_result) -> bool:
        """Count a file; whether its content was not counted before."""
        self.files += 1
        if not stat.S_ISREG(info.st_mode):
            return False
        if info.st_nlink > 1:
            if (info.st_dev, info.st_ino) in self.seen:
                return False
            self.seen.add((info.st_dev, info.st_ino))
        self.bytes += info.st_size
        return True


def occupied(info: os.stat_result) -> int:
    """Bytes that a file takes from a volume; a sparse file less than its size."""
    return min(info.st_size, info.st_blocks * 512)


def status(path: bytes) -> "os.stat_result | None":
    """lstat, or None."""
    try:
        return os.lstat(path)
    except OSError:
        return None


def same_file(first: os.stat_result, second: os.stat_result) -> bool:
    """Whether two results of stat are of the same file."""
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)


def joined(top: bytes, below: bytes) -> bytes:
    """A path below a top that may be a file itself."""
    return os.path.join(top, below) if below else top


# What is asked --------------------------------------------------------------------------------------------------


def survey_pair(kind: str, source: bytes, destination: bytes, staging_in: bool) -> "dict[str, Any]":
    """Resolve a pair and walk its source."""
    side, path = "source", source
    try:
        origin = path = origin_of(kind, source, staging_in)
        side, path = "destination", destination
        target = target_of(source, origin, destination, staging_in)
        side, path = "source", origin
        return dict(totals(origin, target), source=origin, destination=target, folder=os.path.isdir(origin))
    except (PairRefused, OSError) as error:
        return refusal(error, path, side)


def totals(origin: bytes, target: bytes) -> "dict[str, Any]":
    """Count a source that must be readable as a whole, and how much its destination will grow. Raises PairRefused."""
    tally = Tally()
    growth = changed = 0

    def unreadable(path: bytes, error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise PairRefused("denied", path, error.strerror or str(error))

    for below, info in entries(origin, unreadable):
        changed = max(changed, info.st_ctime_ns)
        if stat.S_ISDIR(info.st_mode) or is_device(info):
            continue
        path = joined(origin, below)
        if stat.S_ISREG(info.st_mode) and not os.access(path, os.R_OK):
            raise PairRefused("denied", path, os.strerror(errno.EACCES))
        if tally.new(info):
            old = status(joined(target, below))
            growth += occupied(info) - (occupied(old) if old and stat.S_ISREG(old.st_mode) else 0)
    return {
        "files": tally.files,
        "bytes": min(tally.bytes, MAX_COUNT),
        "growth": max(-MAX_COUNT, min(growth, MAX_COUNT)),
        "changed": changed,
    }


def survey(pairs: "list[tuple[str, bytes, bytes]]", staging_in: bool) -> "Any":
    """Of each pair what :func:`survey_pair` returns, and when the survey began."""
    begun = time.time()
    return {"begun": begun, "pairs": [survey_pair(*pair, staging_in) for pair in pairs]}


class DirectoryTree:
    """The directories below a top, by descriptor: a link in the place of one is not followed, and neither is one that is put there.

    ``insist``: open those up that are closed to us, their owner.
    """

    def __init__(self, top: bytes, insist: bool = False) -> None:
        self.insist = insist
        self.path = b""
        self.top = os.open(top, DIRECTORY)
        self.fd = self.top  # type: int | None

    def enter(self, path: bytes) -> "int | None":
        """A descriptor, good until the next call; None when there is no such directory for us."""
        if path != self.path:
            self.leave()
            self.path, self.fd = path, self.walk(path)
        return self.fd

    def leave(self) -> None:
        """Close the directory that was entered last."""
        if self.fd is not None and self.fd != self.top:
            os.close(self.fd)

    def close(self) -> None:
        """Close all."""
        self.leave()
        os.close(self.top)

    def walk(self, path: bytes) -> "int | None":
        """Go down, one directory after the other."""
        fd = self.top
        for name in path.split(b"/") if path else []:
            inner = self.step(fd, name)
            if fd != self.top:
                os.close(fd)
            if inner is None:
                return None
            fd = inner
        return fd

    def step(self, fd: int, name: bytes) -> "int | None":
        """A directory in another."""
        try:
            return os.open(name, DIRECTORY, dir_fd=fd)
        except PermissionError:
            return os.open(name, DIRECTORY, dir_fd=fd) if self.insist and opened_up(fd) else None
        except OSError as error:
            not_there(error)
            return None


def not_there(error: OSError) -> None:
    """That there is nothing, as an error says. Raises any other, which leaves open what is there."""
    if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
        raise error


def opened_up(fd: int) -> bool:
    """Let its owner, if that is us, into a directory; its mode is set anew by the copy."""
    info = os.fstat(fd)
    if info.st_uid != os.geteuid():
        return False
    os.chmod(b"/proc/self/fd/%d" % fd, stat.S_IMODE(info.st_mode) | 0o700)
    return True


def usage() -> "Any":
    """Bytes that the buffer holds. This one is root's, and goes through directories that users change meanwhile."""
    tally = Tally()
    total = 0
    tree, todo = DirectoryTree(b"."), [b""]
    while todo:
        below = todo.pop()
        for name, info in listed(tree.enter(below)):
            if stat.S_ISDIR(info.st_mode):
                todo.append(os.path.join(below, name))
            elif tally.new(info):
                total += occupied(info)
    return {"bytes": min(total, MAX_COUNT)}


def listed(fd: "int | None") -> "Iterator[tuple[bytes, os.stat_result]]":
    """(name, lstat) of what is in a directory, as far as we may look."""
    if fd is None:
        return
    try:
        inner = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
    except OSError:
        return
    try:
        for name in map(os.fsencode, os.listdir(inner)):
            info = looked_at(inner, name)
            if info is not None:
                yield name, info
    finally:
        os.close(inner)


def looked_at(fd: int, name: bytes) -> "os.stat_result | None":
    """lstat in a directory, or None."""
    try:
        return os.stat(name, dir_fd=fd, follow_symlinks=False)
    except OSError:
        return None


# Whether two pairs would write one file ---------------------------------------------------------------------------


class TreeNode:
    """A place in the destinations: a directory that is there, or a name that is yet to be made.

    ``claims``: what will be there, as (number of the pair, path below its top); a dict, since it is a set in order. ``landed``: by the
    identity of their sources, the pairs whose tops are among these.
    """

    def __init__(self) -> None:
        self.inside = {}  # type: dict[bytes, TreeNode]
        self.claims = {}  # type: dict[tuple[int, bytes], None]
        self.landed = {}  # type: dict[tuple[int, int], int]


class ClashError(Exception):
    """Two claims to one place; where it is below the first one's top."""

    def __init__(self, claim: "tuple[int, bytes]", second: int) -> None:
        self.first, self.below = claim
        self.second = second


class DestinationTree:
    """All destinations as one tree, into which the sources are laid: of these only what several have in common is looked at."""

    def __init__(self, pairs: "list[tuple[bytes, bytes, bool]]") -> None:
        self.pairs = pairs
        self.directories = {}  # type: dict[tuple[int, int], TreeNode]
        self.at = {}  # type: dict[bytes, TreeNode]
        self.mounts = mount_points()

    def node(self, path: bytes) -> TreeNode:
        """The node of a resolved path."""
        at, node = b"", self.child(b"/", {}, b"")
        for name in filter(None, path.split(b"/")):
            at += b"/" + name
            node = self.child(at, node.inside, name)
        return node

    def child(self, path: bytes, inside: "dict[bytes, TreeNode]", name: bytes) -> TreeNode:
        """One directory is one node, whatever it is called: a bind mount gives it other names."""
        node = self.at.get(path)
        if node is None:
            node = self.at[path] = inside.setdefault(name, self.existing(path) or TreeNode())
        return node

    def existing(self, path: bytes) -> "TreeNode | None":
        """The node of a directory that is there."""
        try:
            info = os.stat(path)
        except OSError:
            return None
        return self.directories.setdefault((info.st_dev, info.st_ino), TreeNode()) if stat.S_ISDIR(info.st_mode) else None

    def land(self) -> "list[TreeNode]":
        """Lay down the tops of the sources. The same source at the same place twice is one copy."""
        tops = []
        for number, (_, destination, folder) in enumerate(self.pairs):
            info, node = self.look((number, b"")), self.node(destination)
            if info and node.landed.setdefault((info.st_dev, info.st_ino), number) == number:
                node.claims[number, b""] = None
                tops.append(node)
            for point in self.mounts if folder else []:
                if point.startswith(destination.rstrip(b"/") + b"/"):
                    self.node(point)  # it may be a directory that another pair reaches by another name
        return tops

    def settle(self) -> None:
        """Lay down the rest. Raises ClashError."""
        todo = self.land()
        while todo:
            todo += self.meet(todo.pop())

    def meet(self, node: TreeNode) -> "list[TreeNode]":
        """The claims to one place: at most one, or all directories. Returns the places below it that got claims by that."""
        looks = [(claim, self.look(claim)) for claim in sorted(node.claims)]
        # The same file or directory at the same place, by whatever request, is one: it cannot differ from itself.
        unique = {(info.st_dev, info.st_ino): (claim, info) for claim, info in reversed(looks) if info and not is_device(info)}
        present = sorted(unique.values(), key=lambda entry: entry[0])
        if not all(stat.S_ISDIR(info.st_mode) for _, info in present):
            others = [number for (number, _), _ in present[1:]] or self.landed_below(node)
            if others:
                raise ClashError(present[0][0], others[0])
            return []
        claims = [claim for claim, _ in present]
        return [self.add(node, name, new) for name, new in self.shared(node, claims) if self.is_news(node, name, new)]

    def shared(self, node: TreeNode, claims: "list[tuple[int, bytes]]") -> "Iterator[tuple[bytes, list[tuple[int, bytes]]]]":
        """The names that several have, or one where something lands further below; and who has them."""
        first = {}  # type: dict[bytes, tuple[int, bytes]]
        several = {}  # type: dict[bytes, list[tuple[int, bytes]]]
        for claim in claims:
            for name in self.names(claim) if len(claims) > 1 else node.inside:
                if first.setdefault(name, claim) is not claim:
                    several.setdefault(name, [first[name]]).append(claim)
        for name in node.inside:
            if name in first:
                several.setdefault(name, [first[name]])
        return ((name, [(number, os.path.join(below, name)) for number, below in having]) for name, having in several.items())

    def is_news(self, node: TreeNode, name: bytes, claims: "list[tuple[int, bytes]]") -> bool:
        """Whether there are claims among these that the place does not have yet."""
        return name not in node.inside or any(claim not in node.inside[name].claims for claim in claims)

    def add(self, node: TreeNode, name: bytes, claims: "list[tuple[int, bytes]]") -> TreeNode:
        """Lay claims into a place below."""
        child = node.inside.setdefault(name, TreeNode())
        child.claims.update(dict.fromkeys(claims))
        return child

    def path(self, claim: "tuple[int, bytes]") -> bytes:
        """Where its source is."""
        number, below = claim
        return joined(self.pairs[number][0], below)

    def look(self, claim: "tuple[int, bytes]") -> "os.stat_result | None":
        """Its source's lstat; a top is resolved, but its buffer's descriptor is a link."""
        return status(self.path(claim) + (b"" if claim[1] or not self.pairs[claim[0]][2] else b"/"))

    def names(self, claim: "tuple[int, bytes]") -> "list[bytes]":
        """What is in it; nothing when it cannot be read any more: then the copy will fail."""
        try:
            return os.listdir(self.path(claim))
        except OSError:
            return []

    def landed_below(self, node: TreeNode) -> "list[int]":
        """A pair that lands below a place, if any does."""
        todo, seen = list(node.inside.values()), set()  # type: list[TreeNode], set[int]
        while todo:
            below = todo.pop()
            if below.landed:
                return list(below.landed.values())
            if id(below) not in seen:
                seen.add(id(below))
                todo += below.inside.values()
        return []


def mount_points() -> "list[bytes]":
    """Where something is mounted."""
    with open("/proc/self/mountinfo", "rb") as file:
        return [unescaped(line.split()[4]) for line in file]


def unescaped(text: bytes) -> bytes:
    """A path as the kernel writes it in tables."""
    return re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match.group(1), 8)]), text)


def clash(pairs: "list[tuple[bytes, bytes, bool]]") -> "Any":
    """The first two pairs that would write one file: their numbers, and where that is below the destination of the first."""
    try:
        DestinationTree(pairs).settle()
    except ClashError as error:
        return {"clash": {"first": error.first, "second": error.second, "below": error.below}}
    return {"clash": None}


def prepare(pairs: "list[tuple[bytes, bytes, bool]]", staging_in: bool, resumed: bool, acts: "tuple[bool, ...]") -> "Any":
    """Make the directories that the copies go to, and remove the old files that they will replace; not before all can be done.

    ``acts``: whether it is done, after it was seen that it can be.
    ``resumed``: that was done before, so what is there with its source's size and time by now is a copy, and stays.
    """
    for act in acts:
        answers = [prepare_pair(*pair, staging_in=staging_in, resumed=resumed, act=act) for pair in pairs]
        if any("refused" in answer for answer in answers):
            break
    return {"pairs": answers}


def prepare_pair(source: bytes, destination: bytes, folder: bool, staging_in: bool, resumed: bool, act: bool) -> "dict[str, Any]":
    """:func:`prepare` for one pair, or without ``act`` only whether it can be; whether the destination is like a new one."""
    try:
        fresh = not os.path.exists(destination)
        if not act:
            check_parent(destination, fresh or not folder)
        elif fresh:
            make(source, destination, folder)
        if staging_in and act:
            in_buffer(resolve(destination if folder else os.path.dirname(destination)))  # again: the tree may have changed since the survey
        like_new = fresh or (folder and is_shut(destination))
        if not fresh:
            clear(source, destination, folder, resumed, act)
        return {"fresh": like_new}
    except (PairRefused, OSError) as error:
        return refusal(error, destination, "destination")


def check_parent(path: bytes, needed: bool) -> None:
    """See that we may make an entry, or the directories above it. Raises PairRefused."""
    parent = os.path.dirname(path)
    while not os.path.exists(parent) and parent not in (b"", b"/"):
        parent = os.path.dirname(parent)
    if needed and not os.access(parent or b".", os.W_OK | os.X_OK):
        raise PairRefused("denied", parent, os.strerror(errno.EACCES))


def make(source: bytes, destination: bytes, folder: bool) -> None:
    """The directories of a new destination."""
    parent = os.path.dirname(destination)
    os.makedirs(parent, exist_ok=True)
    if folder:
        os.mkdir(destination, 0o700)
        os.chmod(destination, stat.S_IMODE(os.stat(source).st_mode) | 0o700)


def is_shut(directory: bytes) -> bool:
    """Whether a directory is our own, but closed to our writing: its mode must be changed for the copy anyway."""
    return os.stat(directory).st_uid == os.geteuid() and not os.access(directory, os.W_OK | os.X_OK)


def clear(source: bytes, destination: bytes, folder: bool, resumed: bool, act: bool) -> None:
    """Remove old files that the copy will replace, so that it only makes new ones; without ``act`` see that we may. Raises PairRefused.

    An old one with its source's size and time would be taken for the copy. Written in place, a read-only one could not be opened, one
    with several names would change under the others (somebody's snapshot, perhaps), and one left half new and half old by a kill
    could look complete.
    """
    tree = DirectoryTree(destination if folder else os.path.dirname(destination), insist=act and folder)
    for below, info in entries(source, lambda path, error: not_there(error)):
        if (folder and not below) or is_device(info):
            continue
        inside, name = os.path.split(below if folder else os.path.basename(destination))
        fd = tree.enter(inside)
        old = in_the_way(fd, name, tree.insist) if fd is not None else None
        if fd is None or old is None or same_file(info, old) or (resumed and stat.S_ISREG(info.st_mode) and same(info, old)):
            continue
        if act:
            remove(fd, name, joined(destination, below), tree.insist)
        else:
            check_removal(fd, old, joined(destination, below), folder)
    tree.close()


def in_the_way(fd: int, name: bytes, insist: bool) -> "os.stat_result | None":
    """A regular file in a directory."""
    try:
        info = os.stat(name, dir_fd=fd, follow_symlinks=False)
    except PermissionError:
        return in_the_way(fd, name, False) if insist and opened_up(fd) else None
    except OSError as error:
        not_there(error)
        return None
    return info if stat.S_ISREG(info.st_mode) else None


def remove(fd: int, name: bytes, path: bytes, insist: bool) -> None:
    """Unlink, also from a directory that we made read-only. Raises PairRefused, OSError."""
    try:
        os.unlink(name, dir_fd=fd)
    except PermissionError as error:
        if not (insist and opened_up(fd)):
            raise PairRefused("denied", path, error.strerror or str(error)) from None
        os.unlink(name, dir_fd=fd)


def check_removal(fd: int, old: os.stat_result, path: bytes, insist: bool) -> None:
    """See that :func:`remove` will succeed. Raises PairRefused."""
    info, user = os.fstat(fd), os.geteuid()
    if user == 0 or (insist and info.st_uid == user):
        return
    if not os.access(b".", os.W_OK | os.X_OK, dir_fd=fd):
        raise PairRefused("denied", path, os.strerror(errno.EACCES))
    if info.st_mode & stat.S_ISVTX and user not in (info.st_uid, old.st_uid):
        raise PairRefused("denied", path, os.strerror(errno.EPERM))


def same(first: os.stat_result, second: os.stat_result) -> bool:
    """Whether two files agree in size and time; in whole seconds, since Lustre keeps no fractions."""
    return first.st_size == second.st_size and int(first.st_mtime) == int(second.st_mtime)


def compare(pairs: "list[tuple[bytes, bytes]]", begun: float, digest: bool) -> "Any":
    """Of each pair its totals now and the first differences: (path, what, whether the source changed since ``begun``)."""
    return {"pairs": [compare_pair(source, destination, begun, digest) for source, destination in pairs]}


def compare_pair(source: bytes, destination: bytes, begun: float, digest: bool) -> "dict[str, Any]":
    """:func:`compare` for one pair."""
    tally = Tally()
    differences = []  # type: list[tuple[bytes, str, bool]]

    def vanished(path: bytes, error: OSError) -> None:
        differences.append((path, error.strerror or str(error), isinstance(error, FileNotFoundError)))

    try:
        for below, info in entries(source, vanished):
            if is_device(info):
                continue
            if not stat.S_ISDIR(info.st_mode):
                tally.new(info)
            what = difference(joined(source, below), info, joined(destination, below), digest)
            if what:
                differences.append((joined(source, below), what, info.st_ctime >= begun))
    except OSError as error:
        vanished(source, error)
    return {"files": tally.files, "bytes": min(tally.bytes, MAX_COUNT), "count": len(differences), "differences": differences[:MAX_SHOWN]}


def difference(source: bytes, info: os.stat_result, destination: bytes, digest: bool) -> str:
    """In what the copy of one file is not like it; "" when it is."""
    copy = status(destination)
    if copy is None:
        return "is missing in the copy"
    if stat.S_IFMT(copy.st_mode) != stat.S_IFMT(info.st_mode):
        return "is of another type in the copy"
    if stat.S_ISLNK(info.st_mode) and os.readlink(source) != os.readlink(destination):
        return "points elsewhere in the copy"
    if not stat.S_ISREG(info.st_mode):
        return ""
    if copy.st_size != info.st_size:
        return "has another size in the copy"
    if not same(info, copy):
        return "has another modification time in the copy"
    return "has other content in the copy" if digest and not equal(source, destination) else ""


def equal(source: bytes, copy: bytes) -> bool:
    """Whether two files have the same bytes. Both are here, so no checksum is needed."""
    with open(source, "rb", 0) as original, open(copy, "rb", 0) as copied:
        while True:
            chunk = original.read(1 << 20)
            if chunk != copied.read(1 << 20):
                return False
            if not chunk:
                return True


def read(path: bytes, limit: int) -> "Any":
    """The content of a user's file, at most ``limit`` bytes and one."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO must not hold us
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise PairRefused("wrong", path, "is not a file")
            return {"content": file.read(limit + 1).hex()}
    except (PairRefused, OSError) as error:
        return refusal(error, path, "source")


def plain(value: object) -> object:
    """For JSON: bytes as text whose lone surrogates are the bytes that are not UTF-8."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    raise TypeError(type(value).__name__)


def answer(value: object) -> None:
    """Print one answer, in few bytes: of a long one the end would be lost."""
    sys.stdout.buffer.write(json.dumps(value, default=plain, ensure_ascii=False).encode("utf-8", "surrogateescape"))
    sys.stdout.flush()
