"""Enter buffers on the mover host by descriptor, then become the command that follows.

Started as ``python3 -I -S -c TEXT PASSAGE COUNT (VOLUME NAME OWNER)... COMMAND...`` (3.6 or newer, standard library only), as root where
we are root. A buffer is the directory NAME at the root of the filesystem that is mounted at VOLUME, and it belongs to uid OWNER. Where
VOLUME lies, only we can write; at its root, root of every compute node can. So a link in the buffer's place is not followed, and what
is not of that filesystem and that user is not entered: what root opened for a user, the user could read.

The buffers are open for the command at descriptors from FIRST on, the first one is its working directory. With a PASSAGE, a directory of
root's, that shows the first one: give us a mount namespace of our own for it.
"""

# It runs under Python 3.6, where there is no os.open in pathlib.
# ruff: noqa: PTH103, PTH116, S606

import fcntl
import os
import sys

FIRST = 10


def buffer(volume: str, name: str, owner: int) -> int:
    """A descriptor of a buffer. Raises OSError."""
    top = os.open(volume, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
    except NotADirectoryError:
        raise OSError(0, "is not a directory, and a link is not followed there") from None
    info = os.fstat(fd)
    if info.st_dev != os.fstat(top).st_dev:
        raise OSError(0, "is of another filesystem than the volume")
    if info.st_uid != owner:
        raise OSError(0, f"belongs to uid {info.st_uid} and not to uid {owner}, whose buffer it is")
    os.close(top)
    return fd


def show(fd: int, passage: str) -> None:
    """Bind a directory to the passage. Raises OSError."""
    os.makedirs(passage, 0o755, exist_ok=True)
    # A path, resolved, would be looked up anew: it is the descriptor's directory that is meant, and that we see that we got.
    source = f"/proc/self/fd/{fd}"
    status = os.spawnvp(os.P_WAIT, "mount", ["mount", "--no-canonicalize", "--bind", "--", source, passage])
    if status or not os.path.samestat(os.stat(passage), os.fstat(fd)):
        raise OSError(0, f"could not be bound to {passage} (mount ended with status {status})")


def enter(passage: str, buffers: "list[tuple[str, str, int]]") -> None:
    """Open all buffers, and go to the first."""
    for number, (volume, name, owner) in enumerate(buffers, FIRST):
        try:
            fd = buffer(volume, name, owner)
            os.dup2(fd, number)
            if fd != number:
                os.close(fd)
            fcntl.fcntl(number, fcntl.F_SETFD, 0)  # os.set_inheritable of Python 3.6 to 3.8 does what O_PATH refuses
            if passage and number == FIRST:
                show(number, passage)
        except OSError as error:
            sys.exit(f"{volume}/{name}: {error.strerror}")
    if buffers:
        os.fchdir(FIRST)


def become(command: "list[str]") -> None:
    """Run the command in our place."""
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        sys.exit(127)


def main(passage: str, count: int, words: "list[str]") -> None:
    """Enter the buffers and run the command of the arguments."""
    end = 3 * count
    enter(passage, [(words[at], words[at + 1], int(words[at + 2])) for at in range(0, end, 3)])
    become(words[end:])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
