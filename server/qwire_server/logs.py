"""Log lines for people or for machines. Texts, keys and vectors never reach a log.

So an exception is told by its type and where it came from. Its message is left out, since whoever
raises it may quote what he was given, but for a few that are known not to.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
import traceback
from collections import Counter
from typing import TYPE_CHECKING, Any

from qwire_server.errors import ServerError

if TYPE_CHECKING:
    import asyncio

_LOG = logging.getLogger("qwire.server")
# They name files, modules and attributes, and our own say what happened without the input.
_QUOTES_NOTHING = (ServerError, OSError, ImportError, AttributeError, NameError)
_MOST_REPEATS = 10  # of one warning, in
_REPEAT_SECONDS = 10.0
_DEVICE = "torch"  # knows no texts, and what it says of a device is needed


def configure(log_format: str, level: str, process: str = "") -> None:
    """Write this process's logs to stderr; foreign libraries from WARNING on.

    `process`: its name, in each line, where a server has several.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(process) if log_format == "json" else TextFormatter(process))
    handler.addFilter(_Repeats())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("qwire").setLevel(level.upper())
    # At WARNING it has a line for each request that is no HTTP: anybody could fill a disk.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    # The same for bytes that are no message; other than that it tells of nothing but faults.
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_no_unreadable_message)
    # What nobody catches would be written as it is.
    sys.excepthook = lambda _, error, __: uncaught(error)
    sys.unraisablehook = lambda hidden: uncaught(hidden.exc_value)
    threading.excepthook = lambda died: uncaught(died.exc_value)


def uncaught(error: BaseException | None) -> None:
    """Log what nobody caught."""
    if isinstance(error, KeyboardInterrupt):
        return
    _LOG.error("an error that nobody handled", exc_info=error)


def in_loop(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """The event loop's handler of errors; its own would show them with all they hold."""
    _LOG.error("%s", context["message"], exc_info=context.get("exception"))


def _is_no_unreadable_message(record: logging.LogRecord) -> bool:
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or kind.__name__ != "DecodeError"


class _Repeats(logging.Filter):
    """Leaves out warnings that come again and again: a fault that repeats must not fill a disk."""

    def __init__(self) -> None:
        super().__init__()
        self._began = float("-inf")
        self._counts: Counter[tuple[str, str]] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line is written; those below WARNING always are."""
        if record.levelno < logging.WARNING:
            return True
        if time.monotonic() - self._began > _REPEAT_SECONDS:
            self._began = time.monotonic()
            self._counts.clear()
        what = record.getMessage() if record.msg == "%s" else str(record.msg)
        self._counts[record.name, what] += 1
        count = self._counts[record.name, what]
        if count == _MOST_REPEATS:
            record.msg = f"{record.msg} (more of these lines are left out for some seconds)"
        return count <= _MOST_REPEATS


class _Named(logging.Formatter):
    def __init__(self, process: str = "") -> None:
        super().__init__()
        self._process = process


class TextFormatter(_Named):
    """`12:00:01 INFO  message key=value ...`, control characters escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and a stack if there is one."""
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        facts = " ".join(f"{k}={_short(v)}" for k, v in _facts(record).items())
        process = f"{self._process} " if self._process else ""
        line = f"{clock} {record.levelname:<7} {process}{record.getMessage()} {facts}".rstrip()
        line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
        return f"{line}\n{stack(record.exc_info[1])}" if record.exc_info else line


class JsonFormatter(_Named):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Time in seconds since 1970, level, message, and the record's own facts."""
        entry: dict[str, Any] = {
            "time": round(record.created, 6),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **({"process": self._process} if self._process else {}),
            **_facts(record),
        }
        if record.exc_info:
            entry["stack"] = stack(record.exc_info[1])
        return json.dumps(entry, default=str)


def stack(error: BaseException | None) -> str:
    """Where an exception came from, with those behind it, the first of them first."""
    told: list[str] = []
    while error is not None:
        message = f": {error}" if _may_be_shown(error) else ""
        frames = "".join(traceback.format_tb(error.__traceback__))
        told.append(f"{frames}{type(error).__qualname__}{message}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\nwhich led to\n".join(reversed(told))


def _may_be_shown(error: BaseException) -> bool:
    if isinstance(error, _QUOTES_NOTHING):
        return True
    last = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][-1:]
    raised_in = [type(error).__module__, *(f.f_globals.get("__name__", "") for f in last)]
    return any(name.partition(".")[0] == _DEVICE for name in raised_in)


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    return getattr(record, "record", {})


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
