"""Coverage-guided fuzzing of everything that reads a user's text: directives, sizes, node files.

By hand, in an environment that has atheris (no dependency of this project)::

    python tests/fuzz/fuzz_directives.py -max_total_time=60

Any exception that is not a ``DaccError`` ends it with the input that caused it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

atheris: Any = importlib.import_module("atheris")

with atheris.instrument_imports(include=["dacc_core", "fakewarp"]):
    from dacc_core.errors import BadDirectives, DaccError
    from dacc_core.names import expand, fold, parse_nodes
    from dacc_core.sizes import format_exact, parse_capacity, parse_size
    from fakewarp.directives import PoolSize, check_pools, parse_script


def directives(text: str) -> None:
    """A script is parsed, or refused on printable lines."""
    problems = ""
    try:
        check_pools(parse_script(text), {"a": PoolSize(1 << 30, 3)}, "a")
    except BadDirectives as error:
        problems = str(error)
    assert all(line.isprintable() for line in problems.split("\n"))


def sizes(text: str) -> None:
    """A size that is read can be written and read again."""
    with suppress(DaccError):
        parse_capacity(text)
    with suppress(DaccError):
        size = parse_size(text)
        assert parse_size(format_exact(size)) == size


def nodes(text: str) -> None:
    """What is read of a node file or a folded string folds to itself."""
    with suppress(DaccError):
        folded = parse_nodes(text)
        assert fold(expand(folded)) == folded
    with suppress(DaccError):
        folded = fold(expand(text[:200]))
        assert fold(expand(folded)) == folded


TARGETS: tuple[Callable[[str], None], ...] = (directives, sizes, nodes)


def one_input(data: bytes) -> None:
    """The first byte chooses the target."""
    if data:
        TARGETS[data[0] % len(TARGETS)](data[1:].decode(errors="surrogateescape"))


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
