"""Prompts, as people write them on a command line or in a variable."""

from __future__ import annotations

import re

_PLACE = re.compile(r"\{(instruction|task|task_description|query|text|document|content)?\}")


def prompt_text(value: str) -> str:
    r"""The text of a prompt; the two characters \n, as shells leave them, are a newline.

    Raises:
        ValueError: it is not text, or has a place to fill in.
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("it is not valid UTF-8") from None
    if place := _PLACE.search(value):
        raise ValueError(f"put the task itself in the place of {place[0]}; the text comes after it")
    return value.replace("\\r\\n", "\r\n").replace("\\n", "\n")
