"""The command line of Slurm's datawarp plugin, read without surprises for what users can put into it.

Slurm builds each call from an array, so a user's text (a buffer's name, an access mode) is always one whole argument behind the
option that it belongs to. It stays that option's value here, or the call is refused: it never becomes an option of its own.
"""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from dacc_core.errors import BadArguments
from fakewarp.directives.problems import shown

log = logging.getLogger("dacc.fakewarp")

_SHORT = {
    "-t": "--token",
    "-c": "--caller",
    "-u": "--user",
    "-g": "--groupid",
    "-C": "--capacity",
    "-a": "--access",
    "-T": "--type",
    "-j": "--job",
    "-p": "--pathfile",
}
_LONG = frozenset(_SHORT.values()) | {
    "--function",
    "--nodehostnamefile",
    # Only a native Cray build passes this one, and only Slurm before 21.08 the other: neither is needed.
    "--nidlistfile",
    "--jobexecutionnodefile",
}
_FLAG = "--hurry"
_ID = re.compile(r"[0-9]{1,10}")
_MAX_ID = 2**32 - 2  # (uid_t) -1 is nobody


@dataclass(frozen=True, slots=True)
class Arguments:
    """The options of one call by their long names, without the dashes.

    ``files``: what the files hold that some of them name. ``missing``: those that do not exist; one in neither could not be read.
    """

    values: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    hurry: bool = False
    files: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    missing: frozenset[str] = frozenset()

    def get(self, option: str) -> str:
        """An option's value, ``""`` when it is not given."""
        return self.values.get(option, "")

    def required(self, option: str) -> str:
        """An option's value. Raises BadArguments when it is missing or empty."""
        value = self.get(option)
        if not value:
            raise BadArguments(why=f"option --{option} is missing")
        return value

    def number(self, option: str) -> int:
        """A required uid or gid. Raises BadArguments."""
        value = self.required(option)
        if not _ID.fullmatch(value) or int(value) > _MAX_ID:
            raise BadArguments(why=f"option --{option} is {shown(value)}, not a number from 0 to {_MAX_ID}")
        return int(value)


def read_arguments(args: Sequence[str]) -> Arguments:
    """The options of a command line; unknown ones are logged and ignored, so that a newer Slurm may pass more.

    Raises BadArguments for an option without its value, and for one given twice with different values.
    """
    reader = _ArgumentReader(args)
    return reader.read()


class _ArgumentReader:
    def __init__(self, args: Sequence[str]) -> None:
        self._words = deque(args)
        self._values: dict[str, str] = {}
        self._hurry = False

    def read(self) -> Arguments:
        first = self._words.popleft() if self._words and not self._words[0].startswith("-") else ""
        while self._words:
            self._option(self._words.popleft())
        if first:  # people write the function as the first word
            self._values.setdefault("function", first)
        return Arguments(MappingProxyType(self._values), self._hurry)

    def _option(self, word: str) -> None:
        name, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        name = _SHORT.get(name, name)
        if name in _LONG:
            self._store(name.removeprefix("--"), value if equals else self._value(name))
        elif name == _FLAG:
            if equals:
                raise BadArguments(why=f"option {_FLAG} takes no value")
            self._hurry = True
        else:
            self._ignore(word, has_value=bool(equals))

    def _value(self, name: str) -> str:
        if not self._words or _is_option(self._words[0]):
            raise BadArguments(why=f"option {name} has no value")
        return self._words.popleft()

    def _store(self, key: str, value: str) -> None:
        if self._values.setdefault(key, value) != value:
            raise BadArguments(why=f"option --{key} is given twice, as {shown(self._values[key])} and {shown(value)}")

    def _ignore(self, word: str, *, has_value: bool) -> None:
        # No call has arguments of its own: a word behind an unknown option is its value or nothing that we know.
        if word.startswith("-") and not has_value and self._words and not self._words[0].startswith("-"):
            self._words.popleft()
        log.info("unknown option is ignored", extra={"option": shown(word)})


def _is_option(word: str) -> bool:
    """Whether a word is meant as an option: any with two dashes, and the short ones that exist."""
    return word.startswith("--") or word in _SHORT
