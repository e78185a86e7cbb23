"""What a fork does to a program that embeds: run as `python forked.py FORM TARGET`.

Each child uses what its parent made, sync and async, and says how it fared by its exit status. The
program writes a line for each child: when the fork was made, and that status.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading

import qwire
from support import forms
from support.machine_speed import hang_limit

FAILED = 3  # with an error of ours; a signal is negative


def main() -> None:
    """Fork before anything was used, after it was, and while a call is in flight."""
    form = getattr(forms, sys.argv[1])(target=sys.argv[2], timeout=hang_limit(5))
    print("unused", fork(form), flush=True)  # noqa: T201
    use(form, "parent")
    print("used", fork(form), flush=True)  # noqa: T201
    use(form, "parent again")
    thread = threading.Thread(target=form.embed, args=(["slow"],))
    thread.start()
    sys.stdin.readline()  # it is in flight
    print("busy", fork(form), flush=True)  # noqa: T201
    thread.join()
    use(form, "parent in the end")


def use(form, text: str) -> None:
    form.embed([f"{text}, sync"])
    asyncio.run(form.aembed([f"{text}, async"]))


def fork(form) -> int:
    """The status of a child that uses it."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            use(form, "child")
            status = 0
        except qwire.QwireError:
            status = FAILED
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    main()
