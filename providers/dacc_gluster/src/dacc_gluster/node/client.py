"""On compute nodes, and on the host that copies: mount and unmount volumes."""

import os
import sys
from typing import TYPE_CHECKING, Any, Dict

if TYPE_CHECKING:
    from .common import EXISTS, Failure, end_clients, main, make_owned, mount_client, mounted_at, remove_directory, umount


def mount(what: Dict[str, Any]) -> None:
    path = what["path"]
    os.makedirs(os.path.dirname(path), 0o700 if what["role"] == "mover" else 0o755, exist_ok=True)
    if not mounted_at(path):  # the client of a mount may have died, and then one cannot even look there
        os.makedirs(path, 0o755, exist_ok=True)
    mount_client(what["volume"], what["servers"], path, what["read_only"])
    if what["private"]:
        make_private(path, what)


def make_private(path: str, what: Dict[str, Any]) -> None:
    """The host's own directory and a link to it. ``private`` itself belongs to root, so nobody puts a link of his there."""
    own = "{0}/private/{1}".format(path, what["host"])
    if not what["read_only"]:
        os.makedirs(path + "/private", 0o755, exist_ok=True)
        make_owned(own, what)
    if what["link"]:
        make_link(own, what["link"])


def make_link(target: str, link: str) -> None:
    if os.path.lexists(link) and not os.path.islink(link):
        raise Failure(EXISTS, "{0} is no symbolic link: remove it".format(link))
    os.makedirs(os.path.dirname(link), 0o755, exist_ok=True)
    new = "{0}.{1}".format(link, os.getpid())
    os.symlink(target, new)
    os.replace(new, link)


def unmount(what: Dict[str, Any]) -> None:
    path = what["path"]
    found = mounted_at(path)
    if found and not found.source.endswith(":/" + what["volume"]):
        raise Failure(EXISTS, "{0} is a mount of {1}, not of volume {2}".format(path, found.source, what["volume"]))
    umount(path)
    end_clients(path)
    remove_directory(path)
    if os.path.islink(what["link"]):
        os.unlink(what["link"])


if __name__ == "__main__":
    sys.exit(main({"mount": mount, "unmount": unmount}))
