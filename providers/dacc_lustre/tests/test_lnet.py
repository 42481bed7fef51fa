"""NIDs: data-acc's names, several interfaces, and what is said when LNet has others."""

from __future__ import annotations

import pytest
from dacc_core.sdk import Unavailable

from dacc_lustre import lnet
from dacc_lustre.probe import HostFacts
from dacc_lustre.settings import LustreSettings

FACTS = HostFacts(
    "dac1",
    nids=("10.47.18.1@o2ib1", "10.47.18.101@o2ib1", "10.1.0.1@tcp"),
    resolved={"dac1-opa": ("10.47.18.1",), "dac1-opa2": ("10.47.18.101",), "dac1-eth": ("10.9.9.9",)},
)


def test_a_name_in_the_form_of_data_acc_becomes_a_number() -> None:
    assert lnet.host_nids(FACTS, LustreSettings(nids=("%h-opa@o2ib1",))) == ("10.47.18.1@o2ib1",)


def test_two_interfaces_are_one_host_in_the_source() -> None:
    nids = lnet.host_nids(FACTS, LustreSettings(nids=("%h-opa@o2ib1", "%h-opa2@o2ib1")))

    assert lnet.source([list(nids)], "dacc0001") == "10.47.18.1@o2ib1,10.47.18.101@o2ib1:/dacc0001"
    assert lnet.mgsnode([list(nids)]) == ["10.47.18.1@o2ib1,10.47.18.101@o2ib1"]


def test_two_hosts_are_apart_in_the_source() -> None:
    assert lnet.source([["1.1.1.1@tcp"], ["2.2.2.2@tcp"]], "f") == "1.1.1.1@tcp:2.2.2.2@tcp:/f"


def test_without_patterns_all_nids_of_the_wanted_networks_count() -> None:
    assert lnet.host_nids(FACTS, LustreSettings(networks=("o2ib1",))) == ("10.47.18.1@o2ib1", "10.47.18.101@o2ib1")
    assert lnet.host_nids(FACTS, LustreSettings()) == FACTS.nids


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (LustreSettings(nids=("%h-ib@o2ib1",)), "the name dac1-ib of its NID dac1-ib@o2ib1 does not resolve there"),
        (LustreSettings(nids=("%h-eth@tcp",)), r"dac1-eth@tcp \(10.9.9.9\) is none of its NIDs \(lctl list_nids: 10.47.18.1@o2ib1, "),
        (LustreSettings(nids=("%h-opa@o2ib7",)), "correct nids, or lnetctl net add"),
        (LustreSettings(networks=("o2ib7",)), "LNet has no NID in o2ib7"),
    ],
)
def test_what_lnet_does_not_have_is_said_with_what_it_has(settings: LustreSettings, says: str) -> None:
    with pytest.raises(Unavailable, match=f"host dac1: .*{says}"):
        lnet.host_nids(FACTS, settings)


def test_nodev_and_nosuid_are_always_there_and_once() -> None:
    assert lnet.mount_options(LustreSettings(mount_options=("nodev", "localflock"))) == ("nodev", "localflock", "nosuid")
