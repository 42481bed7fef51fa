"""Marks in the bricks' directories, which say whose they are. Both backings have them.

Hosts may share these directories, so the directories themselves are what is locked.
"""

import os

from dacc_core.sdk.node.kit import Job, NodeError, discard, locked_directory


def mark(job: Job, directory: str) -> None:
    """Say in a brick's directory whose it is. Raises AlreadyExists when another volume's mark is there."""
    os.makedirs(directory, 0o755, exist_ok=True)
    own = job["volume"] + ".brick"
    with locked_directory(directory):
        others = sorted(name for name in os.listdir(directory) if name.endswith(".brick") and name != own)
        if others:
            text = "{} holds volume {}: delete that one first (if nothing knows it any more, remove the directory's content)"
            raise NodeError("AlreadyExists", text.format(directory, others[0][: -len(".brick")]))
        with open(os.path.join(directory, own), "w", encoding="utf-8") as file:
            file.write("volume {} of session {}, served by {}\n".format(job["volume"], job["token"], job["server"]))


def unmark(job: Job) -> None:
    """Take the marks away."""
    for directory in job["dirs"]:
        discard(os.path.join(directory, job["volume"] + ".brick"))
