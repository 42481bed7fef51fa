"""A job as its user sees it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cluster import Cluster

OVER = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"}


def fields(line: str) -> dict[str, str]:
    """``Key=value Key=value``, where a value may have spaces, as scontrol prints it."""
    parts = re.split(r"(?:^|\s)([A-Za-z][A-Za-z/:_]*)=", line)
    return {key: value.strip() for key, value in zip(parts[1::2], parts[2::2], strict=True)}


@dataclass(frozen=True)
class Job:
    """One job, by its id; an array's has the array's."""

    cluster: Cluster
    id: str
    user: str

    def show(self) -> dict[str, str]:
        """``scontrol show job``."""
        return fields(self.cluster.scontrol("show", "job", "-o", self.id, user=self.user))

    @property
    def state(self) -> str:
        """Slurm's name of its state."""
        return self.show().get("JobState", "")

    @property
    def output(self) -> str:
        """What its script has written."""
        path = self.cluster.home(self.user) / f"out.{self.id}"
        return path.read_text() if path.exists() else ""

    def until(self, *states: str, seconds: float = 40.0) -> dict[str, str]:
        """Wait for one of these states; the job as it is then."""

        def reached() -> dict[str, str] | None:
            shown = self.show()
            return shown if shown.get("JobState") in states else None

        shown: dict[str, str] = self.cluster.wait(reached, f"job {self.id} is {' or '.join(states)}", seconds)
        return shown

    def until_said(self, text: str, seconds: float = 75.0) -> None:
        """Wait until its script has written something."""
        self.cluster.wait(lambda: text in self.output, f"job {self.id} writes {text!r}", seconds)

    def until_gone(self, seconds: float = 40.0) -> dict[str, str]:
        """Wait until it is over and nothing of its buffers is left; the job as it is then."""
        shown = self.until(*OVER, seconds=seconds)
        self.cluster.wait(lambda: self.id not in self.cluster.sessions(), f"job {self.id} has no session", seconds)
        return shown

    def wait_no_longer(self) -> None:
        """Slurm lets a requeued job wait for two minutes; an administrator need not."""
        self.cluster.scontrol("update", f"JobId={self.id}", "StartTime=now")

    def until_held(self, seconds: float = 40.0) -> str:
        """Wait until Slurm holds it; why, as Slurm tells the user."""

        def held() -> str:
            shown = self.show()
            return shown.get("SystemComment", "") or shown["Reason"] if shown.get("Priority") == "0" else ""

        words: str = self.cluster.wait(held, f"job {self.id} is held", seconds)
        return words

    def completes(self) -> str:
        """See it end well and leave nothing; its output."""
        shown = self.until_gone()
        assert shown["JobState"] == "COMPLETED", (shown, self.output)
        return self.output

    def cancel(self, *options: str) -> None:
        """``scancel`` by its user."""
        done = self.cluster.run(self.user, "scancel", *options, self.id)
        assert done.returncode == 0, done.stdout
