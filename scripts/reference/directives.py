"""``directives.md``, from the grammar in ``fakewarp/directives/rules.py``."""

from __future__ import annotations

from fakewarp.directives.lexer import MAX_DIRECTIVES
from fakewarp.directives.parser import MAX_PERSISTENT
from fakewarp.directives.rules import COMMANDS, DirectiveCommand, Option
from fakewarp.directives.staging import MAX_STAGING

from . import markdown as md

INTRO = f"""
    What a job script may say. The [user's guide](../guides/job-scripts.md) has examples. The script is checked when it is submitted, and
    every problem is shown with its line and column.

    ## Lines

    - A directive is a line that begins with `#DW` or `#BB` and a blank. Directives stand at the top: the first line that is neither empty
      nor begins with `#` ends them, and what follows is not read.
    - A backslash at the end of a line joins the next one, which must begin with the same prefix.
    - Options are `name=value`, separated by blanks. A value with blanks stands in quotes, single or double. Each option is given once.
    - Slurm itself reads some options (*read by Slurm* below). It takes the first `name=` anywhere in the line and reads up to a space.
      So such a value must not be quoted or be followed by a tab, and `name=` must not occur inside another word before it.
    - No shell ever reads a directive. Only `~/` and the variables of buffers are expanded, only where this page says so. Slurm replaces
      its own `%` symbols (`%j`, `%u`, …) first.
    - Directives have at most {MAX_DIRECTIVES // 1024} KiB in all, stage requests at most {MAX_STAGING // 1024} KiB, and a job uses at most
      {MAX_PERSISTENT} persistent buffers.

    ## Sizes

    A whole number and a unit: `K`, `KiB`, `M`, `MiB` … `P`, `PiB` count in 1024s, `KB`, `MB` … `PB` in 1000s, no unit is bytes. Capital
    and small letters are the same. `N`, `node` or `nodes`, a number of bricks, is refused at submit: Slurm takes it for petabytes.
    Decimals (`3.5TB`) and other units are refused, because Slurm misreads them.

    ## Names

    A persistent buffer's name is a letter, then letters, digits, `_`, `.` and `-`, at most 64 characters. Names that begin with `kept-`
    are refused.
"""
STAGING = """
    ## Paths of stage requests

    - In the buffer: `$DW_JOB_STRIPED/path` or `$DW_PERSISTENT_STRIPED_NAME/path`, also with braces. It must stay inside the buffer, and
      the script must have that buffer. `$DW_JOB_PRIVATE` is refused: its nodes are not known when data is staged.
    - Outside: an absolute path or `~/path`; `~` is the home in the passwd database of the host that copies. Variables are not expanded.
    - `type=directory` copies the content of one directory into the other, `type=file` one file. With `type=list`, `source` is a file
      outside the buffers with two words on each line, source and destination.
"""
TEXTS = {
    "jobdw": "A buffer for this job. Several lines are summed, as Slurm sums them; the last one decides the pool.",
    "persistentdw": "Use a persistent buffer. One line for each.",
    "swap": "Swap space on each node of the job, on its buffer. The provider must be able to serve swap.",
    "stage_in": "Copy into a buffer before the job starts.",
    "stage_out": "Copy out of a buffer after the job has ended.",
    "create_persistent": "Create a buffer that stays until it is destroyed. Such a job needs no buffer of its own.",
    "destroy_persistent": "Destroy a persistent buffer when the job is ready to run. Refused while another job uses it.",
}
OPTION_TEXTS = {
    "capacity": "Size of the buffer, rounded up to whole bricks of the pool.",
    "pool": "The pool; without it the default pool.",
    "type": "Only `scratch`, which is also the default.",
    "access": "The same as `access_mode`.",
    "name": "The buffer's name.",
    "jobdw.access_mode": "`striped` (the default): one directory for all nodes. `private`: one for each node. Or `striped,private`. "
    "The modifiers `MFS=`, `MFC=`, `client_cache=` in parentheses have no effect.",
    "create_persistent.access_mode": "Only `striped`, which is also the default.",
    "create_persistent.group": "Reserved for sharing a buffer with a group. **Refused in this version: a buffer is its owner's alone.**",
    "create_persistent.mode": "Reserved, as `group=`. **Refused in this version.**",
    "source": "Where to copy from: see [paths](#paths-of-stage-requests).",
    "destination": "Where to copy to; not with `type=list`.",
    "stage_in.type": "`file`, `directory` or `list`.",
    "stage_out.type": "`file`, `directory` or `list`.",
    "swap.size": "Swap for each node. A number without a unit counts GiB.",
    "hurry": "Do not wait for data that is still to be copied out, and take the buffer away from jobs that use it.",
}
"""What each option means, by ``command.option``, or by ``option`` where it means the same everywhere."""


def page() -> str:
    """The page."""
    return md.page("Directives", "fakewarp/directives/rules.py", INTRO, "## Commands", *map(_command, COMMANDS.values()), STAGING)


def _command(command: DirectiveCommand) -> str:
    rows = [_row(command, option) for option in ((command.argument,) if command.argument else ()) + command.options]
    rows += [(f"`{flag}`", "", "", OPTION_TEXTS[flag]) for flag in command.flags]
    heads = ("option", "required", "read by Slurm", "meaning")
    return f"### `{command.prefix} {command.name}`\n\n{TEXTS[command.name]}\n\n{md.table(heads, rows)}"


def _row(command: DirectiveCommand, option: Option) -> tuple[str, str, str, str]:
    name = f"`<{option.name}>`" if option is command.argument else f"`{option.name}=`"
    return name, "yes" if option.required else "", "yes" if option.slurm else "", _text(command, option)


def _text(command: DirectiveCommand, option: Option) -> str:
    if option.ignored:
        return "Accepted, has no effect."
    return OPTION_TEXTS.get(f"{command.name}.{option.name}") or OPTION_TEXTS[option.name]
