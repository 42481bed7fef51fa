"""The site's nodemap: seen to keep strangers out and the hosts in, before anything is formatted."""

from __future__ import annotations

from pathlib import Path

import pytest
from dacc_core.sdk import PlanCreate, Unavailable
from lustre_site import Site

from dacc_lustre import fitness, narrate

GOOD = {"active": "1", "default.deny_unknown": "1", "site.trusted_nodemap": "1", "site.admin_nodemap": "1"}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site with a nodemap as it should be."""
    made = Site(tmp_path, {"nodemap": "site"})
    keep(made, GOOD)
    return made


def keep(site: Site, nodemaps: dict[str, str], **strangers: str) -> None:
    """Let every MGS have these parameters; ``strangers``: hosts by the other nodemap that they are in."""
    for host in site.hosts.values():
        host.nodemaps = {key: value for key, value in nodemaps.items() if value}
        host.strangers = {site.hosts[stranger].nid: name for stranger, name in strangers.items()}


def refused(site: Site) -> str:
    with pytest.raises(Unavailable) as caught:
        site.create()
    return str(caught.value)


@pytest.mark.usefixtures("as_root")
def test_a_filesystem_is_made_where_the_nodemap_is_right(site: Site) -> None:
    assert site.create() > 0
    assert site.commands("b0", "lctl nodemap_") == ["lctl nodemap_test_nid 10.0.0.1@o2ib1", "lctl nodemap_test_nid 10.0.0.2@o2ib1"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"active": "0"}, "nodemaps are not active on the MGS here: lctl nodemap_activate 1"),
        ({"default.deny_unknown": "0"}, "the nodemap default lets strangers in: lctl nodemap_modify --name default"),
        ({"site.trusted_nodemap": "0"}, "the nodemap site is not trusted: lctl nodemap_modify --name site --property trusted --value 1"),
        ({"site.admin_nodemap": "0"}, "the nodemap site is not admin: lctl nodemap_modify --name site --property admin --value 1"),
        ({"site.trusted_nodemap": ""}, "the MGS here has no nodemap site: lctl nodemap_add site"),
    ],
)
def test_nothing_is_formatted_where_it_is_wrong(site: Site, wrong: dict[str, str], says: str) -> None:
    keep(site, {**GOOD, **wrong})

    assert f"host b0: {says}" in refused(site)
    assert not site.commands("b0", "mkfs", "wipefs")


def test_nothing_is_formatted_while_a_storage_host_is_not_in_it(site: Site) -> None:
    keep(site, GOOD, b1="default")

    assert "the nodemap site lacks 10.0.0.2@o2ib1 (in default): lctl nodemap_add_range" in refused(site)
    assert not site.commands("b0", "mkfs", "wipefs")


def test_all_that_is_wrong_is_said_at_once(site: Site) -> None:
    keep(site, {**GOOD, "active": "0", "site.admin_nodemap": "0"}, b0="default", b1="other")

    assert refused(site).count("; ") == 2


def test_newer_lustre_may_deny_the_mount_instead(site: Site) -> None:
    keep(site, {**GOOD, "default.deny_unknown": "0", "default.deny_mount": "1"}, b1="default")

    assert "strangers" not in refused(site)


def test_without_the_setting_nodemaps_are_not_looked_at(site: Site, tmp_path: Path) -> None:
    plain = Site(tmp_path / "plain")
    fitness.look(plain.context(), plain.provider.settings, {"b0": ["/dev/nvme0n1"]})

    assert not plain.commands("b0", "lctl get_param -n nodemap")


def test_a_check_asks_each_mgs_about_the_nids_of_all_hosts(site: Site) -> None:
    keep(site, GOOD, c0="default")
    site.hosts["b0"].table.append([f"{site.root}/b0/run/MGS", "/dev/nvme0n1p1", "lustre", "rw"])

    found = fitness.look(site.context(), site.provider.settings, {"b0": ["/dev/nvme0n1"], "c0": []})

    assert [one.text for one in found if one.level == "error"] == [
        "the nodemap site lacks 10.0.0.3@o2ib1 (in default): lctl nodemap_add_range --name site --range NIDS"
    ]


def test_a_check_says_when_no_mgs_could_be_asked(site: Site) -> None:
    found = fitness.look(site.context(), site.provider.settings, {"b0": ["/dev/nvme0n1"]})

    assert [one.text for one in found if one.level == "warning"] == ["no MGS runs there: the nodemap site was not looked at"]


def test_a_check_of_hosts_that_do_not_answer_says_that_and_no_more(site: Site) -> None:
    site.hosts["b0"].up = False

    (found,) = fitness.look(site.context(), site.provider.settings, {"b0": ["/dev/nvme0n1"]})

    assert (found.host, found.level) == ("b0", "error")


def test_a_plan_shows_what_is_asked(site: Site) -> None:
    shown = narrate.create(PlanCreate(context=site.context(), volume=site.volume, look=True), site.provider.settings)

    assert [(one.phase, one.host) for one in shown][:3] == [("MGT", "b0"), ("nodemap", "b0"), ("format", "b0")]
