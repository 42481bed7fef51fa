"""The digest is the same for every spelling of a request, and for no other request."""

from __future__ import annotations

import pytest

from fakewarp.directives import parse_script

SCRIPT = """#!/bin/sh
#DW jobdw capacity=1TiB access_mode=striped pool=p
#DW persistentdw name=b
#DW stage_in type=file source=/a destination=$DW_JOB_STRIPED/a
srun x
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("capacity=1TiB access_mode=striped pool=p", "pool=p   capacity=1TiB \\\n#DW access_mode=striped"),
        ("capacity=1TiB", "capacity=1024GiB"),
        ("access_mode=striped ", ""),
        ("pool=p", "pool=p sync_on_close=yes"),
        ("pool=p", "pool=p type=scratch"),
        ("#DW persistentdw", "# a comment\n#SBATCH -N2\n\n#DW   persistentdw"),
        ("destination=$DW_JOB_STRIPED/a", 'destination="${DW_JOB_STRIPED}/a"'),
        ("srun x", "srun y"),
        ("#!/bin/sh", "#!/bin/bash"),
        ("\n", "\r\n"),
    ],
)
def test_spelling_does_not_change_it(old: str, new: str) -> None:
    assert parse_script(SCRIPT.replace(old, new)).digest == parse_script(SCRIPT).digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("1TiB", "1TB"),
        ("striped pool", "striped,private pool"),
        ("pool=p", "pool=q"),
        ("name=b", "name=c"),
        ("source=/a", "source=/b"),
        ("type=file", "type=directory"),
        ("#DW persistentdw name=b\n", ""),
        ("#DW persistentdw", "#DW swap 1GB\n#DW persistentdw"),
        ("#DW persistentdw", "#BB create_persistent name=x capacity=1GB\n#DW persistentdw"),
        ("#DW persistentdw", "#BB destroy_persistent name=x\n#DW persistentdw"),
    ],
)
def test_another_request_changes_it(old: str, new: str) -> None:
    assert parse_script(SCRIPT.replace(old, new)).digest != parse_script(SCRIPT).digest


def test_stage_in_and_stage_out_are_not_confused() -> None:
    script = "#DW jobdw capacity=1TB\n#DW {} type=list source=/l\n"
    assert parse_script(script.format("stage_in")).digest != parse_script(script.format("stage_out")).digest


def test_it_is_the_same_in_every_process() -> None:
    """Stored in records, so it must survive a restart and an upgrade."""
    assert parse_script("#DW jobdw capacity=1TB\n").digest == "884ebee99b1117b0741ddb88e882dd34f81bb8062c2fea3440669f1e462e19e6"
