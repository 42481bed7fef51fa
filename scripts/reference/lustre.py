"""``lustre-provider.md``, from the settings and the error table of the provider ``lustre``."""

from __future__ import annotations

from dacc_lustre import LustreSettings
from dacc_lustre.errors import RULES
from dacc_lustre.fitness import OMNI_PATH
from dacc_lustre.settings import PARAMETERS

from . import markdown as md
from .fake import _rows

INTRO = """
    The provider `lustre` builds a Lustre filesystem of its own for each volume, on slices of the bricks. How to come to the first one is in
    the [guide](../guides/lustre.md). "LM" is the [Lustre Operations Manual](https://doc.lustre.org/lustre_manual.xhtml), with the title of
    the section.
"""
ERRORS = """
    ## What an error of Lustre means

    `mount.lustre` exits with an errno, and `mount` passes it on. The first row that covers a failure says what follows:

    - *retry*: it is tried again, in the same call up to `mount_tries` times, and later by dacc.
    - *conflict*: something else is there. It is not tried again.
    - *busy*: it is tried again by dacc, and not in the same call.
    - *fail host*: the host cannot do it. It is tried again by dacc; drain the host meanwhile.
    - *quarantine*: a person has to look. If it happens in a teardown, the bricks go into quarantine.
    - *full*, *fail*: it is not tried again.
"""


def page() -> str:
    """The page."""
    rows = [(name, default, said) for name, default, said in _rows(LustreSettings, "providers.lustre.") if "parameters" not in name]
    parameters = [(f"`{name}`", f"`{value}`") for name, value in PARAMETERS.items()]
    said = {name: text for name, _, text in _rows(LustreSettings)}
    table = [(f"`{one.command}`", "any" if one.rc < 0 else str(one.rc), one.text, f"*{one.verdict}*", one.says) for one in RULES]
    return md.page(
        "The provider `lustre`",
        "providers/dacc_lustre",
        INTRO,
        f"## Settings\n\n{md.table(('setting', 'default', 'meaning'), rows)}",
        f"### `providers.lustre.parameters`\n\n{said['`parameters`']} By default:",
        md.table(("parameter", "value"), parameters),
        "### Omni-Path\n\n`dacc lustre check` compares the parameters of ko2iblnd with what Lustre itself chooses for Omni-Path:",
        md.table(("parameter", "at least"), [(f"`{name}`", str(value)) for name, value in OMNI_PATH.items()]),
        ERRORS,
        md.table(("program", "exit status", "text", "verdict", "why, and what to do"), table),
    )
