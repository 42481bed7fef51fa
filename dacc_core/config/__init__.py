"""The configuration: one YAML file and a few environment variables, checked as a whole.

    config = load()
    config.deadlines.create, config.bricks_of("dac1")

Every problem of a file is reported at once, each as ``FILE:LINE:COLUMN: section.key: what is wrong``.
"""

from .load import Config, load, make_runtime_dir, parse_text
from .places import SYSTEM_FILE
from .reader import Reader
from .reference import SettingDoc, describe
from .settings import BrickSetting, DeadlineSettings, PoolSetting

__all__ = [
    "SYSTEM_FILE",
    "BrickSetting",
    "Config",
    "DeadlineSettings",
    "PoolSetting",
    "Reader",
    "SettingDoc",
    "describe",
    "load",
    "make_runtime_dir",
    "parse_text",
]
