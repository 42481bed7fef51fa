"""``settings.md``, from :func:`dacc_core.config.describe`."""

from __future__ import annotations

import re
from itertools import groupby

from dacc_core.config import SettingDoc, describe

from . import markdown as md

INTRO = """
    dacc reads one YAML file: `$DACC_CONFIG`, else `/etc/dacc/dacc.yaml`. Without any file the [embedded defaults](#embedded-defaults)
    hold. Everything that is wrong in the file is reported at once, each problem as `FILE:LINE:COLUMN: setting: what is wrong`.
    [Environment variables](environment.md) go before the file. Daemons read the file when they start.

    The [operator's guide](../guides/install.md#the-configuration-file) walks through a file for a small site.
"""
FORMS = """
    ## Forms of values

    - A **size** is a number of bytes, or a whole number with a unit: `1400GiB`, `100GB`. `K`, `KiB` … `P`, `PiB` count in 1024s, `KB` …
      `PB` in 1000s. Decimals are refused.
    - A **path** is absolute.
    - A **set of hosts** is one name or a folded set: `dac1`, `dac[1-4,7]`.
    - `<runtime>` is `/run/dacc` for root, else `$XDG_RUNTIME_DIR/dacc`, or `/tmp/dacc-<uid>`. It may be emptied by a reboot.
    - `<name>` and `<hosts>` stand for what the site names; `[]` is an item of a list.
    - *required*: there is no default, once the section around it is there.
"""
EMBEDDED = """
    ## Embedded defaults

    Without a configuration file dacc runs on one machine: the pool `default` with a granularity of 1 GiB, served by the provider
    `fake`, and four bricks of this host, the directories `b0` to `b3` below `<state_dir>/bricks`.
"""


def page() -> str:
    """The page."""
    rows = describe()
    sections = [_section(name, list(group)) for name, group in groupby(rows, key=_top)]
    provider = "The settings of a provider are on its own page: [fake](fake-provider.md), [lustre](lustre-provider.md)."
    return md.page("Settings", "dacc_core/config/settings.py", INTRO, FORMS, *sections, provider, EMBEDDED)


def _top(row: SettingDoc) -> str:
    """The section of a setting; settings outside of all sections follow each other in groups of their own."""
    name, dot, _ = row.path.partition(".")
    return name if dot or row.type in ("mapping",) else ""


def _section(name: str, rows: list[SettingDoc]) -> str:
    heading = f"## `{name}`" if name else f"## {', '.join(f'`{row.path}`' for row in rows)}"
    return f"{heading}\n\n" + md.table(("setting", "type", "default", "meaning"), [_row(row) for row in rows])


def _row(row: SettingDoc) -> tuple[str, str, str, str]:
    unit = f", {row.unit}" if row.unit and row.type != "size" else ""
    example = f" Example: {', '.join(map(md.code, row.examples))}." if row.examples else ""
    default = re.sub(r"^([\[{].*[\]}])$", r"`\1`", row.default).replace('`""`', "empty") or "*required*"
    return f"`{row.path}`", row.type + unit, default, row.text + example
