"""What ``gluster`` prints is understood; its words are those of GlusterFS 10.3."""

from __future__ import annotations

import pytest

from dacc_gluster.node import answers

POOL = b"""\
UUID\t\t\t\t\tHostname \tState
15542e88-27b4-4789-99e9-c8c51d7742c5\tdac1     \tConnected 
97f255dc-fa11-45de-bb1c-04e8688235ea\tdac3     \tDisconnected 
ad043086-2ebd-4fee-907c-5706a589a9bd\tlocalhost\tConnected 
"""  # noqa: W291
INFO = b"""<cliOutput><opRet>0</opRet><opErrno>0</opErrno><opErrstr/><volInfo><volumes><volume>
<name>a0000001</name><statusStr>Started</statusStr>
<bricks><brick uuid="1">dac1:/b/0/brick<name>dac1:/b/0/brick</name></brick>
<brick uuid="2">dac2:/b/1/brick<name>dac2:/b/1/brick</name></brick></bricks>
<options><option><name>nfs.disable</name><value>on</value></option></options>
</volume><count>1</count></volumes></volInfo></cliOutput>"""
NONE = b"""<cliOutput><opRet>-1</opRet><opErrno>30806</opErrno><opErrstr>Volume does not exist</opErrstr>
<volInfo><volumes><count>0</count></volumes></volInfo></cliOutput>"""
STATUS = b"""<cliOutput><opRet>0</opRet><volStatus><volumes><volume><volName>a0000001</volName>
<node><hostname>dac1</hostname><path>/b/0/brick</path><status>1</status></node>
<node><hostname>dac2</hostname><path>/b/1/brick</path><status>0</status></node>
</volume></volumes></volStatus></cliOutput>"""


def test_a_host_knows_itself_and_whom_it_is_in_touch_with() -> None:
    peers = answers.peers(POOL.decode())
    assert peers.own == "ad043086-2ebd-4fee-907c-5706a589a9bd"
    assert len(peers.known) == 3
    assert peers.connected == {"15542e88-27b4-4789-99e9-c8c51d7742c5", peers.own}


def test_a_volume_has_bricks_and_options() -> None:
    assert answers.volumes(INFO) == [answers.Known("a0000001", True, ("dac1:/b/0/brick", "dac2:/b/1/brick"), {"nfs.disable": "on"})]
    assert answers.problem(INFO) == ""


def test_a_volume_that_does_not_exist_is_none() -> None:
    assert answers.volumes(NONE) == []
    assert answers.problem(NONE) == "Volume does not exist"


def test_only_bricks_that_are_served_are_online() -> None:
    assert answers.online(STATUS) == {"dac1:/b/0/brick"}


@pytest.mark.parametrize("answer", [b"", b"Connection failed. Please check if gluster daemon is operational.\n", b"<cliOutput>"])
def test_what_is_no_answer_is_a_problem(answer: bytes) -> None:
    assert answers.problem(answer) == "gluster does not say why"


@pytest.mark.parametrize(
    "why",
    [
        "Another transaction is in progress for a0000001. Please try again after some time.",
        "Locking failed on dac2. Please check log file for details.",
    ],
)
def test_a_lock_is_told_from_other_problems(why: str) -> None:
    assert answers.is_locked(why)
    assert not answers.is_down(why)
    assert answers.is_down("Some of the peers are down")
