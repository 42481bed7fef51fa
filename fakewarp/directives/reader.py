"""Reads one directive by the rules: every option known, given once, with a value that its check accepts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dacc_core.errors import InvalidRequest
from fakewarp.directives.lexer import Directive, Word
from fakewarp.directives.problems import Problems, ScriptPosition, shown
from fakewarp.directives.rules import COMMANDS, DirectiveCommand, Option


@dataclass(slots=True)
class Reading:
    """A directive's command and checked values. ``given`` has the wrong ones too; ``whole``: there are none."""

    command: DirectiveCommand
    position: ScriptPosition
    values: dict[str, Any] = field(default_factory=dict)
    positions: dict[str, ScriptPosition] = field(default_factory=dict)
    given: set[str] = field(default_factory=set)
    flags: set[str] = field(default_factory=set)
    whole: bool = True


def read(directive: Directive, problems: Problems, notes: list[str]) -> Reading | None:
    """Read a directive that the lexer could split; ``None`` when it is no known command."""
    command = _command(directive, problems)
    return _OptionReader(directive, command, problems, notes).read() if command else None


def _command(directive: Directive, problems: Problems) -> DirectiveCommand | None:
    word = directive.words[0]
    position = directive.position(word.start)
    command = COMMANDS.get(word.text) if not word.quoted else None
    if command is None:
        problems.add(position, f"unknown command {shown(word.text)}: write one of {', '.join(COMMANDS)}")
        return None
    if command.prefix != directive.prefix:
        belongs = f"{command.name} belongs on a {command.prefix} line"
        problems.add(position, f"{belongs}, {command.why_prefix}: write {command.prefix} {command.name}")
        return None
    return command


class _OptionReader:
    def __init__(self, directive: Directive, command: DirectiveCommand, problems: Problems, notes: list[str]) -> None:
        self._directive = directive
        self._command = command
        self._problems = problems
        self._notes = notes
        self._reading = Reading(command, directive.position(directive.words[0].start))
        self._texts: dict[str, str] = {}
        self._slurm_reads: dict[str, int] = {}

    def read(self) -> Reading:
        before = len(self._problems)
        words = self._directive.words[1:]
        if self._command.argument:
            words = self._argument(self._command.argument, words)
        for word in words:
            self._word(word)
        self._missing()
        self._as_slurm_searches()
        self._reading.whole = len(self._problems) == before
        return self._reading

    def _problem(self, offset: int, text: str) -> None:
        self._problems.add(self._directive.position(offset), text)

    def _argument(self, option: Option, words: list[Word]) -> list[Word]:
        if words and "=" not in words[0].text:
            self._reading.given.add(option.key)
            self._value(option, words[0].text, words[0].start, f"{self._command.name} {shown(words[0].text)}")
            return words[1:]
        return words

    def _word(self, word: Word) -> None:
        name, equals, text = word.text.partition("=")
        option = self._command.option(name)
        if option:
            self._reading.given.add(option.key)
        if option and equals and name not in self._slurm_reads:
            self._slurm_reads[name] = self._directive.text.find(f"{name}=", word.start)
        if not equals and not word.quoted and word.text in self._command.flags:
            self._reading.flags.add(word.text)
        elif not equals and option:
            self._problem(word.start, f"option {name} has no value: write {name}=VALUE")
        elif not equals:
            hint = "a value that contains a space must be in quotes, and a backslash must end its line"
            self._problem(word.start, f"{shown(word.text)} is no option of {self._command.name} ({hint}): {self._allowed()}")
        elif option is None:
            self._problem(word.start, f"unknown option {shown(name)} of {self._command.name}: {self._allowed()}")
        elif not text:
            self._problem(word.start, f"option {name} has an empty value: write {name}=VALUE or leave it out")
        else:
            self._option(option, text, word)

    def _allowed(self) -> str:
        return f"it takes {self._command.usage}"

    def _option(self, option: Option, text: str, word: Word) -> None:
        if self._texts.setdefault(option.key, text) != text:
            both = f"{shown(self._texts[option.key])} and {shown(text)}"
            self._problem(word.start, f"option {option.key} is given twice, as {both}: keep one")
            return
        if option.slurm and not self._survives_slurm(option, word):
            return
        if option.key not in self._reading.values:
            start = word.start + len(option.name) + 1 if not word.quoted else word.start
            self._value(option, text, start, f"{option.name}={shown(text)}")

    def _survives_slurm(self, option: Option, word: Word) -> bool:
        """Whether Slurm reads the same value as we do."""
        if word.quoted:
            what = f"Slurm itself reads {option.name}= up to a space and keeps the quotes"
            self._problem(word.start, f"{what}: write the value without quotes and spaces")
            return False
        following = self._directive.text[word.end : word.end + 1]
        if following != "\t":
            return True
        what = f"a tab follows {option.name}=, and Slurm reads values up to a space"
        if option.recounted:
            line = self._directive.position(word.start).line
            self._notes.append(f"line {line}: {what}, so it counts too little until the buffer is set up")
            return True
        self._problem(word.end, f"{what}: put a space there")
        return False

    def _value(self, option: Option, text: str, offset: int, what: str) -> None:
        position = self._directive.position(offset)
        try:
            value = option.check(text)
        except InvalidRequest as error:
            self._problems.add(position, f"{what}: {error.fields['why']}")
            return
        self._reading.values[option.key] = value
        self._reading.positions[option.key] = position
        if option.ignored:
            self._notes.append(f"line {position.line}: {option.name} of {self._command.name} is accepted and has no effect")

    def _missing(self) -> None:
        argument = self._command.argument
        given = self._reading.given
        named = [f"{option.name}=" for option in self._command.options if option.required and option.key not in given]
        if argument and argument.key not in given:
            named.insert(0, f"a {argument.name}")
        if named:
            self._problem(self._directive.words[0].start, f"{self._command.name} needs {' and '.join(named)}: add it")

    def _as_slurm_searches(self) -> None:
        """Slurm takes the first ``key=`` of the line, be it inside another word."""
        for option in self._command.options:
            offset = self._directive.text.find(f"{option.name}=") if option.slurm else -1
            if offset >= 0 and offset != self._slurm_reads.get(option.name):
                what = f"Slurm takes the first {option.name}= of the line for the option, which is here inside another word"
                self._problem(offset, f"{what}: move it behind the option, or remove it")
