"""Ask the walker on the mover host, and turn what it refuses into our errors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ..errors import DaccError, Denied, InvalidRequest, NoSpace, NotFound, StepFailed, TooLarge, Unavailable
from ..names import clean_text
from . import answers, enter, walker
from .answers import Refusal
from .base import CopyOrder, Root, show
from .pairs import MAX_LIST_BYTES, Pair, Place
from .users import User, entering

_BATCH = 50
"""Pairs in one question: an answer must stay below the MiB that a runner keeps."""

_PROGRAM = Path(walker.__file__).read_bytes()
_T = TypeVar("_T")
_A = TypeVar("_A")


@dataclass(frozen=True, slots=True)
class Found:
    """A pair as the survey found it: paths resolved on the host (those in the buffer relative to its root), totals of the source."""

    pair: Pair
    source: str
    destination: str
    folder: bool
    files: int
    bytes: int
    growth: int
    changed: int
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
        roots = [self.order.roots[place.variable]] if place.variable else []
        answer = self._ask(answers.Content, roots, "read", os.fsencode(place.path), MAX_LIST_BYTES)
        if isinstance(answer, Refusal):
            raise self._refusal("list", place, answer)
        content = bytes.fromhex(answer.content)
        if len(content) > MAX_LIST_BYTES:
            hint = "stage a directory, or give several lists"
            raise TooLarge(what=f"{self.order.step} list {place}", size=f"more than {MAX_LIST_BYTES}", limit=MAX_LIST_BYTES, hint=hint)
        return content

    def survey(self, pairs: Sequence[Pair]) -> list[Found]:
        """Resolve and count. Raises the first pair's error."""

        def ask(root: Root, part: Sequence[Pair]) -> Iterable[Found]:
            questions = [(pair.kind, os.fsencode(pair.source.path), os.fsencode(pair.destination.path)) for pair in part]
            answer = self._accepted(self._ask(answers.Survey, [root], "survey", questions, self._staging_in))
            known = self._each(part, answer.pairs, answers.Surveyed)
            return [self._found(pair, one, answer.begun) for pair, one in zip(part, known, strict=True)]

        return self._batches(pairs, lambda pair: pair, ask)

    def _found(self, pair: Pair, known: answers.Surveyed, begun: float) -> Found:
        try:
            answers.check_path(known.source, inside=bool(pair.source.variable))
            answers.check_path(known.destination, inside=bool(pair.destination.variable))
        except ValueError as error:
            raise self._nonsense(error) from None
        return Found(pair, known.source, known.destination, known.folder, known.files, known.bytes, known.growth, known.changed, begun)

    def check_apart(self, found: Sequence[Found]) -> None:
        """Raise InvalidRequest when two pairs would write one file."""
        if len(found) < 2:
            return
        names = list(dict.fromkeys(one.pair.variable for one in found))
        open_at = {name: f"/proc/self/fd/{number}" for number, name in enumerate(names, enter.FIRST)}

        def path(one: Found, side: str) -> bytes:
            return os.fsencode(open_at[one.pair.variable] + side[1:] if side.startswith("./") else side)

        questions = [(path(one, one.source), path(one, one.destination), one.folder) for one in found]
        roots = [self.order.roots[name] for name in names]
        clash = self._accepted(self._ask(answers.Clashes, roots, "clash", questions)).found
        if clash is None:
            return
        if max(clash.one, clash.other) >= len(found):
            raise self._nonsense("it is about pairs that there are not")
        raise self._clash(found[clash.one], found[clash.other], clash.below)

    def _clash(self, one: Found, other: Found, below: str) -> InvalidRequest:
        where = f"{one.destination.rstrip('/')}/{below}" if below else one.destination
        file = show(f"${one.pair.variable}{where[1:]}" if where.startswith("./") else where)
        both = f"{one.pair} and {other.pair} would both" if one is not other else f"{one.pair} would twice"
        return InvalidRequest(why=f"{self.order.step}: {both} write {file}: give them different destinations")

    def prepare(self, found: Sequence[Found], resumed: bool) -> list[bool]:
        """Make the directories that the copies go to, and remove the files that they will replace.

        ``resumed``: that was done before, so what is there with its source's size and time by now is a copy. Returns of each pair whether
        its destination is new.
        """

        def ask(root: Root, part: Sequence[Found], acts: tuple[bool, ...]) -> Iterable[bool]:
            questions = [(os.fsencode(one.source), os.fsencode(one.destination), one.folder) for one in part]
            answer = self._accepted(self._ask(answers.Preparation, [root], "prepare", questions, self._staging_in, resumed, acts))
            return [known.fresh for known in self._each([one.pair for one in part], answer.pairs, answers.Prepared)]

        if len(found) <= _BATCH and len({one.pair.variable for one in found}) == 1:
            return self._batches(found, lambda one: one.pair, partial(ask, acts=(False, True)))
        self._batches(found, lambda one: one.pair, partial(ask, acts=(False,)))  # of all, before anything is removed for any
        return self._batches(found, lambda one: one.pair, partial(ask, acts=(True,)))

    def compare(self, found: Sequence[Found], digest: bool) -> None:
        """Raise StepFailed when a copy is not like its source."""

        def ask(root: Root, part: Sequence[Found]) -> Iterable[None]:
            questions = [(os.fsencode(one.source), os.fsencode(one.destination)) for one in part]
            begun = min(one.begun for one in part)
            answer = self._accepted(self._ask(answers.Comparison, [root], "compare", questions, begun, digest))
            for one, known in zip(part, self._each([one.pair for one in part], answer.pairs, answers.Compared), strict=True):
                self._agree(one, known)
            return []

        self._batches(found, lambda one: one.pair, ask)

    def usage(self, root: Root) -> int:
        """Bytes that a buffer holds, whosever they are."""
        return self._accepted(self._ask(answers.Used, [root], "usage", own=True)).bytes

    def _batches(self, items: Sequence[_T], pair_of: Callable[[_T], Pair], ask: Callable[[Root, Sequence[_T]], Iterable[_A]]) -> list[_A]:
        """Ask about items in batches, those of one buffer together (in the answers as well)."""
        found: list[_A] = []
        for variable in dict.fromkeys(pair_of(item).variable for item in items):
            group = [item for item in items if pair_of(item).variable == variable]
            for start in range(0, len(group), _BATCH):
                found += ask(self.order.roots[variable], group[start : start + _BATCH])
        return found

    def _ask(self, kind: type[_A], roots: Sequence[Root], question: str, *arguments: object, own: bool = False) -> _A | Refusal:
        """Have the walker answer, as the user or as ourselves (``own``), in the first of these buffers."""
        context = self.order.context
        context.cancel.check(self.order.step)
        context.deadline.check(self.order.step)
        program = _PROGRAM + f"\nanswer({question}(*{arguments!r}))\n".encode()
        words = (context.hosts.python, "-I", "-S", "-")
        command = entering(context.hosts.python, roots, words if own else self.user.command(words))
        host = self.order.host
        result = context.hosts.run([host], command, stdin=program, timeout=context.deadline.remaining())[host]
        if result.error is not None:
            raise result.error
        if result.returncode:
            where, why = roots[0].path if roots else "/", replace(result, stdout=b"").why()
            raise Unavailable(why=f"{self.order.step}: host {host} cannot look at {where}: {why}")
        try:
            return answers.read(answers.loaded(result.stdout), kind)
        except ValueError as error:
            raise self._nonsense(error) from None

    def _accepted(self, answer: _A | Refusal) -> _A:
        """An answer to a question that is never refused as a whole."""
        if isinstance(answer, Refusal):
            raise self._nonsense("it refuses what cannot be refused")
        return answer

    def _each(self, pairs: Sequence[Pair], told: list[Any], kind: type[_A]) -> list[_A]:
        """The answers about pairs. Raises the first refusal."""
        try:
            found = answers.read_each(told, kind, len(pairs))
        except ValueError as error:
            raise self._nonsense(error) from None
        for pair, one in zip(pairs, found, strict=True):
            if isinstance(one, Refusal):
                raise self._refusal(one.side, pair.destination if one.side == "destination" else pair.source, one)
        return [one for one in found if not isinstance(one, Refusal)]

    def _nonsense(self, why: object) -> StepFailed:
        """The error for an answer that our walker does not give: a process of the user's is what the user makes of it."""
        return self.failure(f"what looks at the files on host {self.order.host} answers nonsense ({clean_text(str(why), 200)})")

    def _refusal(self, side: str, place: Place, answer: Refusal) -> DaccError:
        """A refusal as an error that names the path as the user wrote it, and the one at fault where that is another."""
        name = f"{self.order.step} {side} {place}"
        at = "" if answer.path == place.path else f" ({show(answer.path)})"
        match answer.refused:
            case "missing":
                return NotFound(why=f"{name} does not exist (as user {self.order.uid})")
            case "denied":
                what = f"{'write' if side == 'destination' else 'read'} {name}{at}"
                return Denied(who=f"user {self.order.uid}", what=what, why=f"{answer.why} on host {self.order.host}")
            case "full":
                return NoSpace(why=f"{name}: {answer.why}")
            case _:
                return InvalidRequest(why=f"{name} {answer.why}{at}")

    def _agree(self, one: Found, known: answers.Compared) -> None:
        copied = f"{one.pair.source} to {one.pair.destination}"
        details = ", ".join(f"{show(path)} {clean_text(what)}" for path, what, _ in known.differences)
        if any(changed for _, _, changed in known.differences) or (known.files, known.bytes) != (one.files, one.bytes):
            now = f"{one.files} files and {one.bytes} bytes before, {known.files} and {known.bytes} after"
            raise self.changed(one.pair.source, details or now)
        if known.count:
            raise self.failure(f"the copy of {copied} differs in {known.count} places: {details}")

    def changed(self, source: Place, details: str) -> StepFailed:
        """The error for a source that did not hold still."""
        return self.failure(f"source {source} changed while it was copied ({details}): copy again when nothing writes there")

    def failure(self, why: str) -> StepFailed:
        """StepFailed for this order."""
        return StepFailed(step=self.order.step, token=self.order.context.token, why=why)
