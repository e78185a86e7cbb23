"""Log lines for people or for machines. Texts, keys and vectors never reach a log."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any


def configure(log_format: str, level: str) -> None:
    """Write this process's logs to stderr; foreign libraries from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("qwire").setLevel(level.upper())


class TextFormatter(logging.Formatter):
    """`12:00:01 INFO  message key=value ...`, control characters escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and a stack if there is one."""
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        facts = " ".join(f"{k}={_short(v)}" for k, v in _facts(record).items())
        line = f"{clock} {record.levelname:<7} {record.getMessage()} {facts}".rstrip()
        line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Time in seconds since 1970, level, message, and the record's own facts."""
        entry: dict[str, Any] = {
            "time": round(record.created, 6),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **_facts(record),
        }
        if record.exc_info:
            entry["stack"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    return getattr(record, "record", {})


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
