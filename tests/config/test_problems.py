"""What is wrong with a file is said all at once, each with its place and what is allowed."""

from __future__ import annotations

import re
import textwrap

import pytest

from dacc_core.config import parse_text
from dacc_core.errors import BadConfig


def problems(text: str) -> list[str]:
    with pytest.raises(BadConfig) as caught:
        parse_text(textwrap.dedent(text), "dacc.yaml", {"XDG_RUNTIME_DIR": "/run/user/1"})
    return str(caught.value).splitlines()


def the_problem(text: str) -> str:
    found = problems(text)
    assert len(found) == 1, found
    return found[0]


POOLS = "pools: {default: {granularity: 1000, provider: fake}}\n"


def test_every_problem_is_reported_in_the_order_of_the_file() -> None:
    found = problems("""\
        colour: red
        lease_ttl: soon
        retries:
          attempts: 0
        state_dir: here
        """)
    assert [line.split(": ")[0] for line in found] == ["dacc.yaml:1:1", "dacc.yaml:2:12", "dacc.yaml:4:13", "dacc.yaml:5:12"]


def test_an_unknown_key_is_reported_with_the_closest_known_one() -> None:
    assert the_problem("deadlines:\n  creat: 5\n") == "dacc.yaml:2:3: deadlines.creat: unknown key: did you mean create?"


def test_an_unknown_key_like_no_other_is_reported_with_all_known_ones() -> None:
    assert the_problem("log: {zzz: 1}\n") == "dacc.yaml:1:7: log.zzz: unknown key: known are format, level"


def test_a_repeated_key_is_reported_with_its_first_line() -> None:
    assert the_problem("cluster: a\ncluster: b\n") == "dacc.yaml:2:1: cluster: given twice, first on line 1: keep one"


def test_a_key_repeated_in_a_providers_free_section_is_reported_too() -> None:
    assert "providers.fake.a: given twice" in the_problem("providers:\n  fake:\n    a: 1\n    a: 2\n")


@pytest.mark.parametrize("text", ["log: [", "a: b: c", "a:\n\tx: 1", "%", "a: 'b", "a: \x07"])
def test_a_syntax_error_is_one_line(text: str) -> None:
    assert re.match(r"dacc\.yaml:[12]:\d+: not YAML: \w", the_problem(text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cluster: 2024", "1:10: cluster: must be text, not 2024: put it in quotes"),
        ("mover: {digest: maybe}", "must be true or false, not 'maybe'"),
        ("history: {number: 1.5}", "must be a whole number, not 1.5"),
        ("history: {number: true}", "must be a whole number, not true"),
        ("lease_ttl: soon", "must be a number, not 'soon'"),
        ("lease_ttl: 0", "must be above 0, not 0.0"),
        ("lease_ttl: .inf", "must be a finite number"),
        ("log: {format: xml}", "must be one of kv, json, not 'xml'"),
        ("log: [a]", "must be a mapping of settings, not a list"),
        ("frontends: fakewarp", "must be a list, not 'fakewarp'"),
        ("frontends: ['a b']", "frontends[0]: 'a b' is no name"),
        ("slurm_user: [a]", "must be text, not a list"),
        ("socket: run/x", "must be an absolute path, not 'run/x'"),
        ("providers: {fake: 5}", "providers.fake: must be a mapping, not 5"),
        ("- a", "dacc.yaml:1:1: must be a mapping of settings, not a list"),
        ("keystore: {backend: redis}", "must be one of auto, sqlite, etcd, not 'redis'"),
        ("keystore: {endpoints: [http://e]}", "keystore.endpoints[0]: 'http://e' is no endpoint: write HOST:PORT"),
        ("? [a]\n: 1", "a key must be one word"),
        ("log: {<<: {format: json}}", "merge keys"),
        ("providers: {fake: &x {a: *x}}", "contains itself"),
        ("providers: {fake: {a: !!int x}}", "is not what its YAML tag says"),
        ("history: {number: !!int x}", "is not what its YAML tag says"),
    ],
)
def test_a_wrong_value_is_reported_with_what_is_allowed(text: str, words: str) -> None:
    assert words in the_problem(text)


def test_a_setting_without_default_must_be_given() -> None:
    assert the_problem("pools: {default: {granularity: 5}}") == "dacc.yaml:1:18: pools.default.provider: is missing"


def test_a_setting_without_default_must_not_be_empty() -> None:
    assert "pools.default.provider: is empty" in the_problem("pools: {default: {granularity: 5, provider: }}")


def test_an_empty_setting_has_its_default() -> None:
    assert parse_text("log:\ncluster:\nbricks:\n", "x", {}).log.format == "kv"


def test_a_date_is_text() -> None:
    assert parse_text("cluster: 2024-01-01", "x", {}).cluster == "2024-01-01"


class TestPoolsAndBricks:
    def test_a_granularity_must_be_above_zero(self) -> None:
        assert "granularity: must be above 0 bytes" in the_problem("pools: {default: {granularity: 0, provider: fake}}")

    def test_a_granularity_must_be_a_size(self) -> None:
        assert "1:32: pools.default.granularity: size 'much'" in the_problem("pools: {default: {granularity: much, provider: fake}}")

    def test_the_default_pool_must_exist(self) -> None:
        assert "default_pool: pool 'x' does not exist: the pools are default" in the_problem(POOLS + "default_pool: x")

    def test_a_file_without_pools_needs_no_default_pool(self) -> None:
        assert parse_text("cluster: a", "x", {}).pools == {}

    def test_a_bricks_pool_must_exist(self) -> None:
        text = POOLS + "bricks: {dac1: [{device: /dev/a, pool: big}]}"
        assert the_problem(text) == "dacc.yaml:2:40: bricks.dac1[0].pool: pool 'big' does not exist: the pools are default"

    def test_a_pool_with_a_problem_of_its_own_still_exists(self) -> None:
        found = problems("pools: {default: {granularity: 0, provider: fake}}\nbricks: {dac1: [{device: /dev/a}]}")
        assert len(found) == 1

    def test_a_brick_must_not_be_smaller_than_the_granularity(self) -> None:
        text = POOLS + "bricks: {dac1: [{device: /dev/a, capacity: 999}]}"
        assert "capacity: must be at least the granularity of pool default (1000 bytes), not 999" in the_problem(text)

    def test_a_device_must_be_an_absolute_path(self) -> None:
        assert "must be an absolute path, not 'sda'" in the_problem(POOLS + "bricks: {dac1: [{device: sda}]}")

    def test_a_device_given_twice_for_a_host_is_reported_once(self) -> None:
        text = POOLS + "bricks:\n  dac[1-3]: [{device: /dev/a}]\n  dac[2-9]: [{device: /dev/a}]\n"
        assert the_problem(text) == (
            'dacc.yaml:4:23: bricks."dac[2-9]"[0].device: host dac2 has /dev/a twice, first as bricks."dac[1-3]"[0]: keep one'
        )

    def test_a_device_may_have_the_same_name_on_two_hosts(self) -> None:
        text = POOLS + "bricks:\n  dac1: [{device: /dev/a}]\n  dac2: [{device: /dev/a}]\n"
        assert parse_text(text, "x", {}).bricks_of("dac2")

    @pytest.mark.parametrize("pattern", ["'dac[1-'", "'dac[4-1]'", "'@storage'", "'dac*'", "'a b'", "''", "'-dac'"])
    def test_a_pattern_of_hosts_must_be_readable(self, pattern: str) -> None:
        assert "2:10: bricks." in the_problem(POOLS + f"bricks: {{{pattern}: [{{device: /dev/a}}]}}")


LISTENS = ["9753", ":9753", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "::1:9753", "[::1]", "a:+1", "[a]:1"]


@pytest.mark.parametrize("listen", LISTENS)
def test_an_address_without_its_port_is_reported(listen: str) -> None:
    text = the_problem(f"metrics: {{listen: '{listen}'}}\n")
    assert text == f"dacc.yaml:1:19: metrics.listen: {listen!r}: write an address and a port, such as 127.0.0.1:9753 or [::1]:9753"
