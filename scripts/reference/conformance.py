"""``conformance.md``, from the checks of the conformance kit and what they need."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, fields

from dacc_core.testing.conformance.checks import CheckGroup, checks_of
from dacc_core.testing.conformance.checks.group import as_words
from dacc_core.testing.conformance.scratch import Scratch
from dacc_core.testing.conformance.suite import GROUPS

from . import markdown as md

INTRO = """
    What dacc expects of every provider, as checks: in a provider's own tests, and on a site's hosts with
    [`dacc provider check`](commands.md#dacc-provider-check). How to use them is in the
    [guide](../guides/write-a-provider.md#check-it-on-real-hosts).

    | a check ends | which means |
    | --- | --- |
    | ok | the rule was kept |
    | FAILED | it was not, and the text says how |
    | not reached | what the check needs first did not work; another check tells about that |
    | not declared | the provider does not say that it can do this |
    | not possible | there are too few hosts or bricks |

    A *crash* is a daemon that is gone before a command: another one, which knows only what is stored, makes the call again. What happens
    within one command of yours when its host loses power is for your own tests.
"""
SCRATCH = """
    ## `Scratch`

    What the checks may use and ruin. `dacc provider check` makes it from the configuration. In tests the plugin's fixture `scratch` gives
    directories on this machine: as root two brick hosts and two hosts to mount on, each with mounts of its own (namespaces); as another
    user one host to mount on. A fixture of that name in your test class replaces it.
"""
CLASS = """
    ## `ProviderConformance`

    Set `provider` to the name of the entry point. `repeat` (10) is how often calls are repeated that must be repeatable. Override
    `make_provider(scratch)` for a class that is not installed. Your own checks can use the fixture `kit`, too: `kit.trial()` is a volume,
    its method `outcome(call, **fields)` makes a call of the provider, and what is made is taken away afterwards.
"""


def page() -> str:
    """The page."""
    groups = [part for group in GROUPS for part in _group(group)]
    attributes = md.table(("field", "default", "meaning"), _fields())
    return md.page("Conformance checks", "dacc_core/testing", INTRO, *groups, CLASS, SCRATCH, attributes)


def _group(group: type[CheckGroup]) -> Iterator[str]:
    yield f"## {group.title.capitalize()}"
    yield md.doc(group)
    if not group.destructive:
        yield "They change nothing on the hosts, and are made without `--destructive`, too."
    if group.needs:
        yield f"They are made where `{group.needs}` is declared."
    yield md.table(("check", "rule"), ((as_words(name), md.doc(check)) for name, check in checks_of(group).items()))


def _fields() -> Iterator[tuple[str, str, str]]:
    said = md.attribute_docs(Scratch)
    for one in fields(Scratch):
        default = "*required*" if one.default is MISSING and one.default_factory is MISSING else _default(one.name, one.default)
        yield md.code(one.name), default, said[one.name]


def _default(name: str, default: object) -> str:
    if name in ("owner", "group"):
        return "as root 65534, else your own"
    return "empty" if default is MISSING or default in ((), "") else md.code(str(default))
