"""Structured logs: ``key=value`` lines or JSON, the session's token in every line that concerns one."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

_TIME = logging.Formatter("%(asctime)s")
_TRACE = logging.Formatter()
_PLAIN = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime", "taskName"}


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "time": _TIME.formatTime(record).replace(",", ".").replace(" ", "T"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "msg": record.getMessage(),
    }
    fields.update({key: value for key, value in vars(record).items() if key not in _PLAIN})
    if record.exc_info:
        fields["traceback"] = _TRACE.formatException(record.exc_info)
    return fields


class KeyValueFormatter(logging.Formatter):
    """``time=… level=info logger=dacc.session msg="step begins" session=42 step=create``, one line each."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        return " ".join(f"{key}={_quoted(value)}" for key, value in _fields(record).items() if value != "")


class Json(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        return json.dumps(_fields(record), default=str)


def _quoted(value: Any) -> str:
    text = str(value)
    return text if text.isprintable() and text and not any(char in text for char in ' "=\\') else json.dumps(text)


def set_up(form: str, level: str) -> None:
    """Log to standard error, where systemd and people look."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Json() if form == "json" else KeyValueFormatter())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
