"""``fake-provider.md``, from the settings and faults of the provider ``fake``."""

from __future__ import annotations

import dataclasses

from dacc_fake import FakeSettings, Fault
from dacc_fake.faults import ERRORS, PARTIAL

from . import markdown as md

INTRO = """
    The provider `fake` needs no storage hardware. It is for a first look, tests, demonstrations and benchmarks. The devices of its
    bricks are directories, and the provider works for hosts that share them: this machine, or mount namespaces of it.

    | backing | a volume is | mounted as | capacity limit | needs |
    | --- | --- | --- | --- | --- |
    | `image` | a sparse ext4 image | a real mount, `nodev,nosuid` | real | root, loop devices, e2fsprogs |
    | `directory` | a directory | a symbolic link | only when data is staged in | nothing |
    | `none` | nothing | nothing | none | nothing; runs no command |

    `auto`, the default, is `image` for root on a machine with loop devices, else `directory`. Swap needs `image`.
"""
EXAMPLE = """
    ```yaml
    providers:
      fake:
        backing: directory
        faults:
          - {call: mount, host: c2, times: 2}             # fails twice, then works
          - {call: create, delay: 3}                      # takes 3 s longer
          - {call: create, token: "88123", hang: true}    # ends when cancelled or at its deadline
          - {call: delete, times: 0, error: Busy}         # always fails
          - {call: unmount, when: after}                  # is done, but the answer is an error
          - {call: create, partial: formatted}            # dies half-way, as a host that crashes
    ```
"""


def page() -> str:
    """The page."""
    settings = md.table(("setting", "default", "meaning"), _rows(FakeSettings, "providers.fake."))
    faults = md.table(("field", "default", "meaning"), _rows(Fault))
    calls = md.table(("call", "places for `partial`"), [(f"`{call}`", ", ".join(map(md.code, places))) for call, places in PARTIAL.items()])
    return md.page(
        "The provider `fake`",
        "providers/dacc_fake",
        INTRO,
        f"## Settings\n\n{settings}",
        f"## Faults\n\n{md.doc(Fault)}",
        EXAMPLE,
        faults,
        f"### Calls\n\n{calls}",
        f"`error` is one of {', '.join(map(md.code, sorted(ERRORS)))}.",
    )


def _rows(cls: type, prefix: str = "") -> list[tuple[str, str, str]]:
    said = md.attribute_docs(cls)
    return [(f"`{prefix}{field.name}`", _default(field.default), said[field.name]) for field in dataclasses.fields(cls)]


def _default(value: object) -> str:
    if value is dataclasses.MISSING:
        return "*required*"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return "empty" if value == "" else "`[]`" if value == () else f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
