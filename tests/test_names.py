"""Names and host sets: what passes is harmless everywhere, and folding loses nobody."""

from __future__ import annotations

from collections.abc import Callable
from cProfile import Profile

import pytest
from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet
from hypothesis import given
from hypothesis import strategies as st

from dacc_core import names
from dacc_core.errors import BadName, DaccError
from dacc_core.names import both, clean_text, count, env_name, expand, fold, minus, parse_nodes, union

HOSTS = st.from_regex(r"[a-z0-9]{1,3}[0-9]{0,3}(?:[-.][a-z]?[0-9]{1,3}){0,2}", fullmatch=True)
HOST_SETS = st.sets(HOSTS, max_size=40)
HOSTILE = [
    "-oProxyCommand=x",
    "-e",
    "a;reboot",
    "a b",
    "$(x)",
    "a\nb",
    "a\0",
    "nöde",
    "c[1-3]",
    "a,b",
    "@group",
    "!x",
    "a&b",
    "a^b",
    "c*",
    "c?",
    "a/b",
    "",
]


@pytest.mark.parametrize("name", ["test_buffer", "a", "A-b.c", "x" * 64])
def test_go_row_21_a_buffer_name_may_have_an_underscore(name: str) -> None:
    assert names.check_buffer(name) == name


@pytest.mark.parametrize("name", [*HOSTILE, "1a", "_a", ".a", "../a", "it's", "a=b", "x" * 65, "a\u2028", "a\n"])
def test_a_bad_buffer_name_is_refused_on_one_printable_line(name: str) -> None:
    with pytest.raises(BadName) as caught:
        names.check_buffer(name)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 250


def test_a_buffer_name_that_starts_with_a_digit_would_be_a_job_to_slurm() -> None:
    with pytest.raises(BadName, match="starts with a digit is a job's"):
        names.check_buffer("12ab")


@pytest.mark.parametrize("token", ["1", "67108863", "4294967295"])
def test_a_job_token_is_a_job_id(token: str) -> None:
    assert names.check_job_token(token) == token
    assert names.check_token(token) == token


@pytest.mark.parametrize("token", ["", "0", "007", "-1", "1 ", "1\n", "4294967296", "9" * 40, "١", "a"])
def test_other_job_tokens_are_refused(token: str) -> None:
    with pytest.raises(BadName):
        names.check_job_token(token)


def test_a_token_is_a_job_id_or_a_buffer_name() -> None:
    assert names.check_token("climate2") == "climate2"
    with pytest.raises(BadName, match="job id"):
        names.check_token("12ab")


@pytest.mark.parametrize("check", [names.check_host, names.check_pool])
@pytest.mark.parametrize("name", HOSTILE)
def test_go_row_27_a_hostile_name_is_refused(check: Callable[[str], str], name: str) -> None:
    with pytest.raises(BadName):
        check(name)


@pytest.mark.parametrize("name", ["c1", "gpu-3.cluster.example.org", "10.7.0.1", "node_1"])
def test_usual_host_names_pass(name: str) -> None:
    assert names.check_host(name) == name


@pytest.mark.parametrize(("name", "variable"), [("a-b", "a_b"), ("a.b", "a_b"), ("a_1", "a_1"), ("é", "_")])
def test_contract_item_9_every_name_has_a_legal_variable(name: str, variable: str) -> None:
    assert env_name(name) == variable


def test_a_node_file_is_folded() -> None:
    assert parse_nodes("c1\nc2\nc3\nlogin\n") == "c[1-3],login"


def test_go_row_27_crlf_blank_lines_and_duplicates_are_harmless() -> None:
    assert parse_nodes("c1\r\n\r\n  \nc2\nc1\n") == "c[1-2]"


def test_an_empty_node_file_has_no_hosts() -> None:
    assert parse_nodes("\n") == ""


@pytest.mark.parametrize("host", [host for host in HOSTILE if host and "\n" not in host])
def test_go_row_27_a_bad_line_of_a_node_file_is_named(host: str) -> None:
    with pytest.raises(BadName, match="line 3 of the node file"):
        parse_nodes(f"c1\n\n{host}\nc2\n")


@pytest.mark.parametrize(
    ("hosts", "folded"),
    [
        ([], ""),
        (["c7"], "c7"),
        (["c1", "c2", "c3"], "c[1-3]"),
        (["c3", "c1"], "c[1,3]"),
        (["c08", "c09", "c10"], "c[08-10]"),
        (["c8", "c9", "c08", "c09"], "c[8-9,08-09]"),
        (["x1c1", "x1c2", "x2c1", "x2c2"], "x[1-2]c[1-2]"),
        (["c1.s2.org", "c2.s2.org"], "c[1-2].s2.org"),
        (["a", "b1"], "a,b1"),
        (["10.7.0.1", "10.7.0.2"], "10.7.0.[1-2]"),
    ],
)
def test_folding(hosts: list[str], folded: str) -> None:
    assert fold(hosts) == folded
    assert sorted(expand(folded)) == sorted(hosts)


@given(HOST_SETS)
def test_expanding_undoes_folding(hosts: set[str]) -> None:
    assert set(expand(fold(hosts))) == hosts
    assert count(fold(hosts)) == len(hosts)


@given(HOST_SETS)
def test_clustershell_reads_the_same_hosts(hosts: set[str]) -> None:
    assert set(NodeSet(fold(hosts), resolver=RESOLVER_NOGROUP)) == hosts


@given(HOST_SETS)
def test_the_order_of_hosts_does_not_change_the_string(hosts: set[str]) -> None:
    assert fold(sorted(hosts)) == fold(sorted(hosts, reverse=True))


@given(HOST_SETS, HOST_SETS)
def test_set_operations(a: set[str], b: set[str]) -> None:
    assert union(fold(a), fold(b)) == fold(a | b)
    assert minus(fold(a), fold(b)) == fold(a - b)
    assert both(fold(a), fold(b)) == fold(a & b)


@given(HOST_SETS)
def test_set_operations_with_none_and_with_itself(hosts: set[str]) -> None:
    a = fold(hosts)
    assert union(a, "") == union("", a) == union(a, a) == minus(a, "") == both(a, a) == a
    assert minus(a, a) == minus("", a) == both(a, "") == both("", a) == ""


def test_a_host_named_twice_is_expanded_once() -> None:
    assert expand("c[1-2],c[2-3]") == ("c1", "c2", "c3")


@pytest.mark.parametrize(
    "text", ["c[1-", "c[]", "c[3-1]", "c[1-2-3]", "c[a]", "c1,", ",c1", "c1,,c2", "-c1", "c[1]]", "c[[1]]", "@all", "c1!c2", "c[1-9/2]"]
)
def test_a_malformed_host_set_is_refused(text: str) -> None:
    with pytest.raises(BadName, match="host set"):
        expand(text)


@pytest.mark.parametrize(
    "text", ["c[1-999999999]", "c[1-9999]n[1-9999]n[1-9999]", "c[1-600000],d[1-600000]", f"c[{'9' * 99}]" * 2 + "[1-9999999]"]
)
def test_a_host_set_beyond_any_cluster_is_refused_before_it_takes_memory(text: str) -> None:
    with pytest.raises(BadName, match="more than 1000000 hosts"):
        expand(text)


def complaint(read: Callable[[str], object], text: str) -> str:
    try:
        read(text)
    except DaccError as error:
        return str(error)
    return ""


@given(st.text() | st.text(alphabet="c[]-,01 9\r\n@!&^.x", max_size=60))
def test_any_text_is_hosts_or_a_bad_name(text: str) -> None:
    for read in (parse_nodes, expand, names.check_host, names.check_token):
        assert complaint(read, text).isprintable()


def calls(work: Callable[[], object]) -> int:
    """The number of functions called: a measure of work that no clock and no other process disturbs."""
    profile = Profile()
    profile.runcall(work)
    return sum(entry.callcount for entry in profile.getstats())


@pytest.mark.parametrize("form", ["c{0}", "x{1}c{2}n{3}", "h{0}x"])
def test_folding_takes_work_in_proportion_to_the_hosts(form: str) -> None:
    """Names with several numbers, half of them missing, are quadratic for NodeSet."""
    hosts = [form.format(i, i // 90, i // 9 % 10, i % 9) for i in range(0, 8000, 2) if i % 7]
    assert calls(lambda: expand(fold(hosts))) < 4.5 * calls(lambda: expand(fold(hosts[:1000])))


def test_go_row_26_thirty_thousand_nodes_stay_a_few_bytes() -> None:
    text = "".join(f"c{i}\n" for i in range(1, 30_001))
    folded = parse_nodes(text)
    assert folded == "c[1-30000]"
    assert minus(folded, "c[2-29999]") == "c[1,30000]"
    assert count(union(folded, "d1")) == 30_001


@given(st.text(st.characters(exclude_categories=()), max_size=3000), st.integers(10, 1500))
def test_a_cleaned_text_is_one_line_that_every_record_and_terminal_takes(text: str, limit: int) -> None:
    clean = clean_text(text, limit)
    assert clean.isprintable()
    assert len(clean) <= limit
    clean.encode()


@given(st.text(st.characters(categories=("L", "N", "P", "Zs")), max_size=50))
def test_a_text_that_is_clean_stays_as_it_is(text: str) -> None:
    if text.isprintable() and text == text.strip():
        assert clean_text(text) == text


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("busy: process 12 uses it", "busy: process 12 uses it"),
        ("größer, 容量", "größer, 容量"),
        (" two\nlines\n", r"two\nlines"),
        ("\x1b]0;owned\x07\x1b[2J", r"\x1b]0;owned\x07\x1b[2J"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("/mnt/\udcff", r"/mnt/\udcff"),
        ("a" * 1001, "a" * 997 + "..."),
    ],
)
def test_a_hosts_text_is_one_printable_line_of_bounded_length(text: str, cleaned: str) -> None:
    assert clean_text(text) == cleaned
