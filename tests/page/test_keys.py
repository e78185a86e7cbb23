"""A server that has keys: the page asks for one, and says in words why one will not do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.browser import Browser, Page
from support.keys import KeyFile
from support.page import ask, paste, settled
from support.web_front import serve

if TYPE_CHECKING:
    from pathlib import Path

SHUT = "!document.querySelector('#key-dialog').open"


def enter(page: Page, key: str) -> None:
    """Write a key into the dialog that is open."""
    page.click("#key")
    page.js("document.querySelector('#key').select()")
    page.type(key)
    page.press("Enter")
    page.until(SHUT)


def another(page: Page, key: str) -> None:
    page.click("#alerts button")
    page.until("document.querySelector('#key-dialog').open")
    enter(page, key)


def test_it_asks_for_a_key_and_tells_which_will_not_do(browser: Browser, tmp_path: Path):
    """No key, a wrong one, one that may not embed, the right one; and that one revoked."""
    file = KeyFile(tmp_path / "keys.toml")
    key, metrics = file.new("page"), file.new("watcher", "metrics")
    with serve(settings={"api_keys_file": file.path}) as web, browser.page() as page:
        page.open(web.url)
        page.until("document.querySelector('#key-dialog').open")
        assert page.js("document.querySelector('#key').type") == "password"
        assert page.text("#server").strip() == "a key is needed"
        enter(page, "qk0.wrong")
        page.see("#alerts .bad", "does not know your API key")
        another(page, metrics)
        page.see("#base-notice", "may not do this")
        page.click("#language-button")
        page.see("#base-notice", "没有这个权限")
        page.click("#language-button")
        page.click("#key-button")
        enter(page, key)
        page.until("document.querySelector('#alerts').children.length === 0")
        paste(page, ["rain", "snow"])
        settled(page)
        assert ask(page, "rain")[0] == "rain"
        assert page.keys[-1] == f"Bearer {key}"
        file.revoke("page")
        for _ in range(200):
            page.js("document.querySelector('#question').select()")
            page.type("snow")
            page.press("Enter")
            if "does not know" in page.text("#alerts"):
                break
            page.js("await new Promise((done) => setTimeout(done, 50))")
        page.see("#alerts .bad", "does not know your API key")
        page.click("#language-button")
        page.see("#alerts .bad", "不认识")
        assert {key.partition(".")[2] in part for part in page.errors} == {False}
        assert key not in page.js("JSON.stringify(localStorage)")
