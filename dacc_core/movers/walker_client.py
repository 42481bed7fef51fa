"""Asks the walker on the mover host, and turns what it refuses into our errors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ..errors import DaccError, Denied, InvalidRequest, NoSpace, NotFound, StepFailed, TooLarge, Unavailable
from ..names import clean_text
from ..sdk.hosts import Command
from . import answers, enter, walker
from .answers import PairRefusal
from .base import CopyOrder, Root, show
from .pairs import MAX_LIST_BYTES, Pair, StagePath
from .users import MoverUser, entering

_BATCH = 50
"""Pairs in one question: an answer must stay below the MiB that a runner keeps."""

_PROGRAM = Path(walker.__file__).read_bytes()
_A = TypeVar("_A")


@dataclass(frozen=True, slots=True)
class SurveyedPair:
    """A pair after the survey: paths resolved on the host (those in the buffer relative to its root), totals of the source."""

    requested: Pair
    source: str
    destination: str
    folder: bool
    files: int
    bytes: int
    growth: int
    changed: int
    begun: float

    @property
    def variable(self) -> str:
        """The buffer that one of the sides is in."""
        return self.requested.variable


_P = TypeVar("_P", Pair, SurveyedPair)


@dataclass(frozen=True, slots=True)
class WalkerClient:
    """The questions to the walker for one order."""

    order: CopyOrder
    user: MoverUser

    @property
    def _staging_in(self) -> bool:
        return self.order.direction == "in"

    def read_list(self, path: StagePath) -> bytes:
        """The content of a list file. Raises NotFound, Denied, InvalidRequest, TooLarge."""
        roots = [self.order.roots[path.variable]] if path.variable else []
        answer = self._ask(answers.ContentAnswer, roots, "read", os.fsencode(path.path), MAX_LIST_BYTES)
        if isinstance(answer, PairRefusal):
            raise self._refusal("list", path, answer)
        content = bytes.fromhex(answer.content)
        if len(content) > MAX_LIST_BYTES:
            hint = "stage a directory, or give several lists"
            raise TooLarge(what=f"{self.order.step} list {path}", size=f"more than {MAX_LIST_BYTES}", limit=MAX_LIST_BYTES, hint=hint)
        return content

    def survey(self, pairs: Sequence[Pair]) -> list[SurveyedPair]:
        """Resolve and count. Raises the first pair's error."""

        def ask(root: Root, batch: Sequence[Pair]) -> Iterable[SurveyedPair]:
            questions = [(pair.kind, os.fsencode(pair.source.path), os.fsencode(pair.destination.path)) for pair in batch]
            answer = self._accepted(self._ask(answers.SurveyAnswer, [root], "survey", questions, self._staging_in))
            surveys = self._each(batch, answer.pairs, answers.PairSurvey)
            return [self._surveyed(pair, survey, answer.begun) for pair, survey in zip(batch, surveys, strict=True)]

        return self._batches(pairs, ask)

    def _surveyed(self, pair: Pair, survey: answers.PairSurvey, begun: float) -> SurveyedPair:
        try:
            answers.check_path(survey.source, inside=bool(pair.source.variable))
            answers.check_path(survey.destination, inside=bool(pair.destination.variable))
        except ValueError as error:
            raise self._malformed(error) from None
        return SurveyedPair(pair, **msgspec.structs.asdict(survey), begun=begun)

    def check_apart(self, pairs: Sequence[SurveyedPair]) -> None:
        """Raise InvalidRequest when two pairs would write one file."""
        if len(pairs) < 2:
            return
        names = list(dict.fromkeys(pair.variable for pair in pairs))
        open_at = {name: f"/proc/self/fd/{number}" for number, name in enumerate(names, enter.FIRST)}

        def path(pair: SurveyedPair, side: str) -> bytes:
            return os.fsencode(open_at[pair.variable] + side[1:] if side.startswith("./") else side)

        questions = [(path(pair, pair.source), path(pair, pair.destination), pair.folder) for pair in pairs]
        roots = [self.order.roots[name] for name in names]
        clash = self._accepted(self._ask(answers.ClashAnswer, roots, "clash", questions)).clash
        if clash is None:
            return
        if max(clash.first, clash.second) >= len(pairs):
            raise self._malformed("it is about pairs that there are not")
        raise self._clash(pairs[clash.first], pairs[clash.second], clash.below)

    def _clash(self, first: SurveyedPair, second: SurveyedPair, below: str) -> InvalidRequest:
        where = f"{first.destination.rstrip('/')}/{below}" if below else first.destination
        file = show(f"${first.variable}{where[1:]}" if where.startswith("./") else where)
        both = f"{first.requested} and {second.requested} would both" if first is not second else f"{first.requested} would twice"
        return InvalidRequest(why=f"{self.order.step}: {both} write {file}: give them different destinations")

    def prepare(self, pairs: Sequence[SurveyedPair], resumed: bool) -> list[bool]:
        """Make the directories that the copies go to, and remove the files that they will replace.

        ``resumed``: that was done before, so what is there with its source's size and time by now is a copy. Returns of each pair whether
        its destination is new.
        """

        def ask(root: Root, batch: Sequence[SurveyedPair], acts: tuple[bool, ...]) -> Iterable[bool]:
            questions = [(os.fsencode(pair.source), os.fsencode(pair.destination), pair.folder) for pair in batch]
            answer = self._accepted(self._ask(answers.PreparationAnswer, [root], "prepare", questions, self._staging_in, resumed, acts))
            preparations = self._each([pair.requested for pair in batch], answer.pairs, answers.PairPreparation)
            return [preparation.fresh for preparation in preparations]

        if len(pairs) <= _BATCH and len({pair.variable for pair in pairs}) == 1:
            return self._batches(pairs, partial(ask, acts=(False, True)))
        self._batches(pairs, partial(ask, acts=(False,)))  # of all, before anything is removed for any
        return self._batches(pairs, partial(ask, acts=(True,)))

    def compare(self, pairs: Sequence[SurveyedPair], digest: bool) -> None:
        """Raise StepFailed when a copy is not like its source."""

        def ask(root: Root, batch: Sequence[SurveyedPair]) -> Iterable[None]:
            questions = [(os.fsencode(pair.source), os.fsencode(pair.destination)) for pair in batch]
            begun = min(pair.begun for pair in batch)
            answer = self._accepted(self._ask(answers.ComparisonAnswer, [root], "compare", questions, begun, digest))
            comparisons = self._each([pair.requested for pair in batch], answer.pairs, answers.PairComparison)
            for pair, comparison in zip(batch, comparisons, strict=True):
                self._check_equal(pair, comparison)
            return []

        self._batches(pairs, ask)

    def usage(self, root: Root) -> int:
        """Bytes that a buffer holds, whosever they are."""
        return self._accepted(self._ask(answers.UsageAnswer, [root], "usage", own=True)).bytes

    def _batches(self, pairs: Sequence[_P], ask: Callable[[Root, Sequence[_P]], Iterable[_A]]) -> list[_A]:
        """Ask about pairs in batches, those of one buffer together (in the answers as well)."""
        replies: list[_A] = []
        for variable in dict.fromkeys(pair.variable for pair in pairs):
            group = [pair for pair in pairs if pair.variable == variable]
            for start in range(0, len(group), _BATCH):
                replies += ask(self.order.roots[variable], group[start : start + _BATCH])
        return replies

    def _ask(self, kind: type[_A], roots: Sequence[Root], question: str, *arguments: object, own: bool = False) -> _A | PairRefusal:
        """Have the walker answer, as the user or as ourselves (``own``), in the first of these buffers."""
        context = self.order.context
        context.cancel.check(self.order.step)
        context.deadline.check(self.order.step)
        program = _PROGRAM + f"\nanswer({question}(*{arguments!r}))\n".encode()
        words = (context.hosts.python, "-I", "-S", "-")
        command = entering(context.hosts.python, roots, words if own else self.user.command(words))
        host = self.order.host
        result = context.hosts.run([host], Command(command, stdin=program, timeout=context.deadline.remaining()))[host]
        if result.error is not None:
            raise result.error
        if result.returncode:
            where, why = roots[0].path if roots else "/", replace(result, stdout=b"").why()
            raise Unavailable(why=f"{self.order.step}: host {host} cannot look at {where}: {why}")
        try:
            return answers.read(answers.loaded(result.stdout), kind)
        except ValueError as error:
            raise self._malformed(error) from None

    def _accepted(self, answer: _A | PairRefusal) -> _A:
        """An answer to a question that is never refused as a whole."""
        if isinstance(answer, PairRefusal):
            raise self._malformed("it refuses what cannot be refused")
        return answer

    def _each(self, pairs: Sequence[Pair], replies: list[Any], kind: type[_A]) -> list[_A]:
        """The answers about pairs. Raises the first refusal."""
        accepted: list[_A] = []
        try:
            each = answers.read_each(replies, kind, len(pairs))
        except ValueError as error:
            raise self._malformed(error) from None
        for pair, answer in zip(pairs, each, strict=True):
            if isinstance(answer, PairRefusal):
                raise self._refusal(answer.side, pair.destination if answer.side == "destination" else pair.source, answer)
            accepted.append(answer)
        return accepted

    def _malformed(self, why: object) -> StepFailed:
        """The error for an answer that our walker does not give: a process of the user's is what the user makes of it."""
        return self.failure(f"what looks at the files on host {self.order.host} answers nonsense ({clean_text(str(why), 200)})")

    def _refusal(self, side: str, path: StagePath, answer: PairRefusal) -> DaccError:
        """A refusal as an error that names the path as the user wrote it, and the one at fault where that is another."""
        name = f"{self.order.step} {side} {path}"
        at = "" if answer.path == path.path else f" ({show(answer.path)})"
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

    def _check_equal(self, pair: SurveyedPair, after: answers.PairComparison) -> None:
        copied = f"{pair.requested.source} to {pair.requested.destination}"
        details = ", ".join(f"{show(path)} {clean_text(what)}" for path, what, _ in after.differences)
        if any(changed for _, _, changed in after.differences) or (after.files, after.bytes) != (pair.files, pair.bytes):
            totals = f"{pair.files} files and {pair.bytes} bytes before, {after.files} and {after.bytes} after"
            raise self.changed(pair.requested.source, details or totals)
        if after.count:
            raise self.failure(f"the copy of {copied} differs in {after.count} places: {details}")

    def changed(self, source: StagePath, details: str) -> StepFailed:
        """The error for a source that did not hold still."""
        return self.failure(f"source {source} changed while it was copied ({details}): copy again when nothing writes there")

    def failure(self, why: str) -> StepFailed:
        """StepFailed for this order."""
        return StepFailed(step=self.order.step, token=self.order.context.token, why=why)
