"""Slurm's command lines are understood; what users can put into them stays a value."""

from __future__ import annotations

import contextlib
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dacc_core.errors import BadArguments
from fakewarp.arguments import Arguments, read_arguments

# What a running Slurm was seen to pass, and what its source can.
OBSERVED = [
    ("--function pools", {"function": "pools"}),
    ("--function job_process --job /s/script", {"function": "job_process", "job": "/s/script"}),
    (
        "--function setup --token 1 --caller SLURM --user 1001 --groupid 1001 --capacity wlm_pool:400GiB --job /s/script"
        " --nodehostnamefile /s/client_nids",
        {
            "function": "setup",
            "token": "1",
            "caller": "SLURM",
            "user": "1001",
            "groupid": "1001",
            "capacity": "wlm_pool:400GiB",
            "job": "/s/script",
            "nodehostnamefile": "/s/client_nids",
        },
    ),
    (
        "--function create_persistent -c CLI -t mybuf -u 1001 -C wlm_pool:429496729600 -a striped -T scratch",
        {
            "function": "create_persistent",
            "caller": "CLI",
            "token": "mybuf",
            "user": "1001",
            "capacity": "wlm_pool:429496729600",
            "access": "striped",
            "type": "scratch",
        },
    ),
    ("--function data_in --token 1 --job /s/script", {"function": "data_in", "token": "1", "job": "/s/script"}),
    ("--function real_size --token 1", {"function": "real_size", "token": "1"}),
    (
        "--function paths --job /s/script --token 1 --pathfile /s/path",
        {"function": "paths", "job": "/s/script", "token": "1", "pathfile": "/s/path"},
    ),
    (
        "--function pre_run --token 1 --job /s/script --nodehostnamefile /n --jobexecutionnodefile /e",
        {"function": "pre_run", "token": "1", "job": "/s/script", "nodehostnamefile": "/n", "jobexecutionnodefile": "/e"},
    ),
    ("--function pre_run --token 1 --nidlistfile /n", {"function": "pre_run", "token": "1", "nidlistfile": "/n"}),
]


@pytest.mark.parametrize(("line", "values"), OBSERVED, ids=lambda value: value if isinstance(value, str) else "")
def test_a_command_line_of_slurm(line: str, values: dict[str, str]) -> None:
    assert dict(read_arguments(line.split()).values) == values


@pytest.mark.parametrize(
    "line",
    [
        "--token 7 --hurry --function teardown --job /s",
        "--hurry --job=/s --token=7 --function=teardown",
        "teardown -t 7 -j /s --hurry",
        "-t 7 --function teardown --job /s --hurry --hurry --token 7",
    ],
)
def test_order_and_spelling_of_options_do_not_matter(line: str) -> None:
    arguments = read_arguments(line.split())
    assert dict(arguments.values) == {"function": "teardown", "token": "7", "job": "/s"}
    assert arguments.hurry


def test_a_value_may_contain_an_equals_sign() -> None:
    assert read_arguments(["--job=/a=b"]).get("job") == "/a=b"


@pytest.mark.parametrize("words", [["--new", "value"], ["--new=value"], ["--new"], ["-x"], ["-x", "value"], ["--new", "pools"], ["-tNAME"]])
def test_an_unknown_option_is_ignored_with_its_value(words: list[str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "dacc.fakewarp"):
        arguments = read_arguments([*words, "--token", "7"])
    assert dict(arguments.values) == {"token": "7"}
    assert [record.message for record in caplog.records] == ["unknown option is ignored"]


def test_a_word_that_belongs_to_no_option_is_ignored() -> None:
    assert dict(read_arguments(["--function", "pools", "teardown", "--hurry"]).values) == {"function": "pools"}


@pytest.mark.parametrize(
    "line",
    [
        "--token",
        "--token --caller SLURM",
        "--token -u 1001",
        "-t --function=teardown -u 1",
        "--token --hurry",
        "--token --anything",
    ],
)
def test_an_option_without_its_value_is_refused(line: str) -> None:
    with pytest.raises(BadArguments, match="option --token has no value"):
        read_arguments(line.split())


def test_an_option_given_twice_with_different_values_is_refused() -> None:
    with pytest.raises(BadArguments, match="given twice, as 1 and 2"):
        read_arguments(["--token", "1", "-t", "2"])


def test_a_flag_takes_no_value() -> None:
    with pytest.raises(BadArguments, match="takes no value"):
        read_arguments(["--hurry=no"])


def test_a_required_option_must_be_there_and_not_empty() -> None:
    for args in ([], ["--token", ""]):
        with pytest.raises(BadArguments, match="option --token is missing"):
            read_arguments(args).required("token")


@pytest.mark.parametrize("text", ["0", "1001", "4294967294", "00012"])
def test_a_number_is_read(text: str) -> None:
    assert read_arguments(["--user", text]).number("user") == int(text)


@pytest.mark.parametrize("text", ["-1", "+1", "1_0", " 1", "0x10", "1.0", "4294967295", "99999999999", "root", "١"])
def test_what_is_no_uid_is_refused(text: str) -> None:
    with pytest.raises(BadArguments, match="option --user is"):
        read_arguments([f"--user={text}"]).number("user")


@given(name=st.text(max_size=20))
def test_a_users_text_is_the_value_of_its_option_or_refused(name: str) -> None:
    args = ["--function", "create_persistent", "-c", "CLI", "-t", name, "-u", "1001", "-C", "p:1", "-a", name, "-T", "scratch"]
    try:
        arguments = read_arguments(args)
    except BadArguments:
        return
    assert not arguments.hurry
    assert dict(arguments.values) == {
        "function": "create_persistent",
        "caller": "CLI",
        "token": name,
        "user": "1001",
        "capacity": "p:1",
        "access": name,
        "type": "scratch",
    }


@given(st.lists(st.sampled_from(["--function", "pools", "-t", "--token=1", "--hurry", "--x", "x", "", "-", "--", "=", "\udcff"])))
def test_any_words_are_read_or_refused(words: list[str]) -> None:
    with contextlib.suppress(BadArguments):
        assert isinstance(read_arguments(words), Arguments)
