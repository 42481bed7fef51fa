"""Goals as verbs wish them."""

from __future__ import annotations

import pytest

from dacc_core.errors import TooLarge
from dacc_core.verbs import goals


def test_more_nodes_than_a_record_can_hold_are_refused() -> None:
    most = "c" * goals.MAX_NODES
    assert goals.pre_run(most).hosts == most
    with pytest.raises(TooLarge, match="the folded list of the job's nodes is 262145 bytes, more than the 262144 that are allowed: give"):
        goals.pre_run(most + "c")
