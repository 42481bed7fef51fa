"""What the tests of the directives share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dacc_core.errors import BadDirectives
from fakewarp.directives import parse_script

Refused = Callable[[str], list[str]]


@pytest.fixture
def refused() -> Refused:
    """Parse a script that must be refused; gives its problems, one string each, all printable."""

    def problems(script: str) -> list[str]:
        with pytest.raises(BadDirectives) as caught:
            parse_script(script)
        lines = str(caught.value).split("\n")
        assert all(line.isprintable() for line in lines)
        return lines

    return problems
