"""Warnings that point at the user's line, however many layers lie between it and ours."""

from __future__ import annotations

import inspect
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

# Packages whose frames may stand between the user's line and ours: ours, the frameworks that call
# us, and what runs coroutines and context managers.
_BETWEEN = frozenset(
    {
        *("qwire", "langchain_qwire", "pydantic", "wrapt", "tenacity"),
        *("langchain", "langchain_classic", "langchain_community", "langchain_core", "langgraph"),
        *("llama_index", "llama_index_instrumentation", "workflows"),
        *("asyncio", "concurrent", "contextlib", "functools", "threading"),
    }
)


def warn_user(warning: Warning) -> None:
    """Warn at the innermost line that belongs neither to us nor to a framework."""
    frame = _user_frame(inspect.currentframe())
    if frame is None:  # a thread that a framework started
        warnings.warn(warning, stacklevel=2)
        return
    warnings.warn_explicit(
        warning,
        category=type(warning),
        filename=frame.f_code.co_filename,
        lineno=frame.f_lineno,
        module=frame.f_globals.get("__name__"),
        registry=frame.f_globals.setdefault("__warningregistry__", {}),
    )


def _user_frame(frame: FrameType | None) -> FrameType | None:
    while frame and str(frame.f_globals.get("__name__")).partition(".")[0] in _BETWEEN:
        frame = frame.f_back
    return frame
