"""What people do on the web page, in one word each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.browser import Page

IDLE = "document.querySelector('#progress').hidden"


def settled(page: Page) -> None:
    """Wait until nothing is indexed, and something is open."""
    page.until(f"{IDLE} && document.querySelector('#bases :checked')?.checkVisibility()")
    page.until(f"{IDLE} && document.querySelector('#results-status').innerText !== ''")


def paste(page: Page, texts: Sequence[str]) -> None:
    """Paste texts, a line each, and have them indexed; does not wait until they are."""
    page.click("#texts")
    page.type("\n".join(texts))
    page.click("#index")
    page.see("#bases li:has(:checked)", "My texts")


def ask(page: Page, question: str, *, bare: bool = True) -> list[str]:
    """Ask, and wait for the results; without an instruction, unless told otherwise."""
    if bare:
        choose(page, "#preset", "bare")
    page.js("document.querySelector('#question').select()")
    page.type(question)
    page.press("Enter")
    status = "document.querySelector('#results-status').innerText"
    page.until(f"/\\d/.test({status}) && !document.querySelector('.results.stale')")
    return page.texts("#results .text")


def choose(page: Page, selector: str, value: object) -> None:
    """Set a field, as its events tell it."""
    page.js(
        f"{{ const field = document.querySelector({json.dumps(selector)}); "
        f"field.value = {json.dumps(value)}; "
        "for (const kind of ['input', 'change']) "
        "field.dispatchEvent(new Event(kind, {bubbles: true})); }"
    )
