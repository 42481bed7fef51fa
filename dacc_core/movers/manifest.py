"""Ask the walker on the mover host, and turn what it refuses into our errors."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..errors import DaccError, Denied, InvalidRequest, NoSpace, NotFound, StepFailed, TooLarge, Unavailable
from . import walker
from .base import CopyOrder, show
from .pairs import MAX_LIST_BYTES, Pair, Place
from .users import User, own_command

_BATCH = 50
"""Pairs in one question: an answer must stay below the MiB that a runner keeps."""

_PROGRAM = Path(walker.__file__).read_bytes()
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Found:
    """A pair as the survey found it: paths resolved on the host (those in the buffer relative to ``root``), totals of the source.

    ``closed``: the user cannot come from ``/`` to ``root``.
    """

    pair: Pair
    root: str
    closed: bool
    source: str
    destination: str
    folder: bool
    files: int
    bytes: int
    growth: int
    begun: float


@dataclass(frozen=True, slots=True)
class Walker:
    """The walker's questions for one order."""

    order: CopyOrder
    user: User

    @property
    def _staging_in(self) -> bool:
        return self.order.direction == "in"

    def read_list(self, place: Place) -> bytes:
        """The content of a list file. Raises NotFound, Denied, InvalidRequest, TooLarge."""
        directory = self.order.roots[place.variable] if place.variable else "/"
        answer = self._ask(directory, "read", os.fsencode(place.path), MAX_LIST_BYTES)
        if "refused" in answer:
            raise self._refusal("list", place, answer)
        content = bytes.fromhex(answer["content"])
        if len(content) > MAX_LIST_BYTES:
            hint = "stage a directory, or give several lists"
            raise TooLarge(what=f"{self.order.step} list {place}", size=f"more than {MAX_LIST_BYTES}", limit=MAX_LIST_BYTES, hint=hint)
        return content

    def survey(self, pairs: Sequence[Pair]) -> list[Found]:
        """Resolve and count. Raises the first pair's error."""

        def ask(directory: str, part: Sequence[Pair]) -> list[Found]:
            questions = [(pair.kind, os.fsencode(pair.source.path), os.fsencode(pair.destination.path)) for pair in part]
            answer = self._ask(directory, "survey", questions, self._staging_in)
            self._check(part, answer["pairs"])
            pairs = zip(part, answer.pop("pairs"), strict=True)
            return [Found(pair=pair, **answer, **known) for pair, known in pairs]

        return self._batches(pairs, lambda pair: pair, ask)

    def prepare(self, found: Sequence[Found]) -> list[bool]:
        """Make the directories that the copies go to. Returns of each pair whether its destination is new."""

        def ask(directory: str, part: Sequence[Found]) -> list[bool]:
            questions = [(os.fsencode(one.source), os.fsencode(one.destination), one.folder) for one in part]
            answer = self._ask(directory, "prepare", questions, self._staging_in)
            self._check([one.pair for one in part], answer["pairs"])
            return [known["fresh"] for known in answer["pairs"]]

        return self._batches(found, lambda one: one.pair, ask)

    def compare(self, found: Sequence[Found], digest: bool) -> None:
        """Raise StepFailed when a copy is not like its source."""

        def ask(directory: str, part: Sequence[Found]) -> list[None]:
            questions = [(os.fsencode(one.source), os.fsencode(one.destination)) for one in part]
            answer = self._ask(directory, "compare", questions, min(one.begun for one in part), digest)
            for one, known in zip(part, answer["pairs"], strict=True):
                self._agree(one, known)
            return []

        self._batches(found, lambda one: one.pair, ask)

    def usage(self, directory: str) -> int:
        """Bytes that the buffer at ``directory`` holds, whosever they are."""
        total: int = self._ask(directory, "usage", own=True)
        return total

    def _batches(self, items: Sequence[_T], pair_of: Callable[[_T], Pair], ask: Callable[[str, Sequence[_T]], Iterable[Any]]) -> list[Any]:
        """Ask about items in batches, those of one buffer together (in the answers as well)."""
        answers: list[Any] = []
        for variable in dict.fromkeys(pair_of(item).variable for item in items):
            group = [item for item in items if pair_of(item).variable == variable]
            for start in range(0, len(group), _BATCH):
                answers += ask(self.order.roots[variable], group[start : start + _BATCH])
        return answers

    def _ask(self, directory: str, question: str, *arguments: object, own: bool = False) -> Any:
        context = self.order.context
        context.cancel.check(self.order.step)
        context.deadline.check(self.order.step)
        program = _PROGRAM + f"\nanswer({question}(*{arguments!r}))\n".encode()
        words = (context.hosts.python, "-I", "-S", "-")
        command = own_command(words, directory) if own else self.user.command(words, directory)
        host = self.order.host
        result = context.hosts.run([host], command, stdin=program, timeout=context.deadline.remaining())[host]
        if result.error is not None:
            raise result.error
        try:
            return json.loads(result.stdout)
        except ValueError:
            raise Unavailable(why=f"{self.order.step}: host {host} cannot look at {directory}: {show(result.why())[:500]}") from None

    def _check(self, pairs: Sequence[Pair], answers: Sequence[dict[str, Any]]) -> None:
        for pair, answer in zip(pairs, answers, strict=True):
            if "refused" in answer:
                side = answer["side"]
                raise self._refusal(side, pair.destination if side == "destination" else pair.source, answer)

    def _refusal(self, side: str, place: Place, answer: dict[str, str]) -> DaccError:
        """A refusal as an error that names the path as the user wrote it, and the one at fault where that is another."""
        name = f"{self.order.step} {side} {place}"
        at = "" if answer["path"] == place.path else f" ({show(answer['path'])})"
        match answer["refused"]:
            case "missing":
                return NotFound(why=f"{name} does not exist (as user {self.order.uid})")
            case "denied":
                what = f"{'write' if side == 'destination' else 'read'} {name}{at}"
                return Denied(who=f"user {self.order.uid}", what=what, why=f"{answer['why']} on host {self.order.host}")
            case "full":
                return NoSpace(why=f"{name}: {answer['why']}")
            case _:
                return InvalidRequest(why=f"{name} {answer['why']}{at}")

    def _agree(self, one: Found, known: dict[str, Any]) -> None:
        copied = f"{one.pair.source} to {one.pair.destination}"
        details = ", ".join(f"{show(path)} {what}" for path, what, _ in known["differences"])
        if any(changed for _, _, changed in known["differences"]) or (known["files"], known["bytes"]) != (one.files, one.bytes):
            now = f"{one.files} files and {one.bytes} bytes before, {known['files']} and {known['bytes']} after"
            raise self.changed(one.pair.source, details or now)
        if known["count"]:
            raise self.failure(f"the copy of {copied} differs in {known['count']} places: {details}")

    def changed(self, source: Place, details: str) -> StepFailed:
        """The error for a source that did not hold still."""
        return self.failure(f"source {source} changed while it was copied ({details}): copy again when nothing writes there")

    def failure(self, why: str) -> StepFailed:
        """StepFailed for this order."""
        return StepFailed(step=self.order.step, token=self.order.context.token, why=why)
