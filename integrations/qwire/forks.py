"""What is to be done before the process forks, and left alone after. Knows nothing about calls."""

from __future__ import annotations

import ctypes
import os
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Of the process, because a fork is. By their objects, whose end is the end of an entry.
_BEFORE: weakref.WeakKeyDictionary[object, weakref.WeakMethod[Callable[[], None]]]
_BEFORE = weakref.WeakKeyDictionary()


def call_before_fork(owner: object, method: Callable[[], None]) -> None:
    """Call a method of `owner`, as long as that lives, whenever the process is about to fork."""
    _BEFORE[owner] = weakref.WeakMethod(method)


def never_collect(thing: object) -> None:
    """Keep what the parent had open from being collected in a forked child.

    What gRPC does then waits for a lock that a thread of the parent may have had: for ever.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _call() -> None:
    for reference in list(_BEFORE.values()):
        if method := reference():
            method()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(before=_call)
