"""A server that is slow, busy, loading, gone, another one: nothing that was done is lost."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from qwire_server.load_reranker import load_reranker
from qwire_server.settings import Settings
from support.browser import Browser, Page
from support.machine_speed import hang_limit
from support.page import ask, paste, settled
from support.rerankers import tiny_reranker
from support.runners import FakeRunner
from support.serving import fake_model, serving
from support.web_front import Front, running, serve

MANY = [f"entry number {i}" for i in range(100)]  # four batches


def held_after(web: Front, batches: int) -> threading.Event:
    """Let the model do so many batches more; then it waits for the event."""
    go, first = threading.Event(), len(web.runner.batches)

    def wait(_) -> None:
        if len(web.runner.batches) > first + batches:
            assert go.wait(hang_limit(15))

    web.runner.fails = wait
    return go


def indexed(page: Page) -> int:
    return page.js("document.querySelector('#progress-bar').value")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_cancel_stops_the_server_too_and_keeps_what_is_done(page: Page, web: Front):
    settled(page)
    since = len(web.observer.requests)
    go = held_after(web, 3)
    paste(page, MANY)
    page.see("#progress-text", "Indexing")
    page.until("document.querySelector('#progress-bar').value > 0")
    page.click("#cancel")
    page.until("document.querySelector('#progress').hidden")
    ends = time.monotonic() + hang_limit(15)
    while not [r for r in web.observer.requests[since:] if r.code == "CANCELLED"]:
        assert time.monotonic() < ends, "the server was not told"
        time.sleep(0.02)
    go.set()
    web.runner.fails = None
    done = sum(r.texts for r in web.observer.requests[since:] if r.code == "OK")
    assert 0 < done < len(MANY)
    assert f"{done} of 100" in page.see("#base-notice", "entries are indexed")
    page.click("#base-notice button")
    page.see("#bases", "100 entries")
    settled(page)
    assert ask(page, MANY[70])[0] == MANY[70]
    again = sum(r.texts for r in web.observer.requests[since:] if r.code == "OK")
    assert again == len(MANY) + 1  # each once, and the question


@pytest.mark.slow
def test_a_reload_in_the_middle_goes_on_where_it_was(page: Page, web: Front):
    settled(page)
    go = held_after(web, 3)
    paste(page, MANY)
    page.until("document.querySelector('#progress-bar').value > 0")
    page.reload()
    go.set()
    web.runner.fails = None
    page.see("#base-notice", "entries are indexed")
    page.click("#base-notice button")
    page.see("#bases", "100 entries")
    settled(page)
    assert ask(page, MANY[99])[0] == MANY[99]


def test_a_server_that_goes_away_is_told_and_its_return_goes_on(browser: Browser):
    """Indexing and the question that waited; what was done is not sent again."""
    port = free_port()
    with browser.page() as page:
        with serve(port, {"drain_seconds": 0.1}) as web:
            page.open(web.url)
            settled(page)
            go = held_after(web, 3)
            paste(page, MANY)
            page.until("document.querySelector('#progress-bar').value > 0")
            done = indexed(page)
            threading.Timer(2, go.set).start()  # by then it takes nothing more
        page.see("#alerts .bad", "does not answer")
        assert page.js("document.querySelector('#alerts').role") == "alert"
        page.see("#progress-text", "waiting for the server")
        with serve(port) as web:
            page.see("#bases", "100 entries")
            page.until("document.querySelector('#alerts').children.length === 0")
            settled(page)
            assert ask(page, MANY[50])[0] == MANY[50]
            assert sum(record.texts for record in web.observer.requests) <= 100 - done + 1
        page.errors.clear()


def test_a_question_waits_for_a_server_that_is_away(browser: Browser):
    port = free_port()
    with browser.page() as page:
        with serve(port) as web:
            page.open(web.url)
            settled(page)
        page.click("#examples button")
        page.see("#alerts .bad", "does not answer")
        page.see("#results-status", "Searching")
        with serve(port):
            page.see("#results-status", "5 of 24 entries")
            page.until("document.querySelector('#alerts').children.length === 0")


@pytest.mark.slow
def test_a_model_that_loads_is_told_and_waited_for(browser: Browser):
    loading, loaded = threading.Event(), threading.Event()
    runner, port = FakeRunner(32), free_port()

    def load(_):
        loading.set()
        assert loaded.wait(hang_limit(30))
        return fake_model(runner)

    def stay() -> None:
        with running(lambda: serving(load, runner=runner, http_port=port)):
            assert over.wait(hang_limit(60))

    over = threading.Event()
    thread = threading.Thread(target=stay)
    thread.start()
    try:
        assert loading.wait(hang_limit(15))
        with browser.page() as page:
            page.open(f"http://127.0.0.1:{port}")
            page.see("#alerts", "The model is loading")
            assert "loading" in page.text("#server")
            loaded.set()
            settled(page)
            page.see("#server", "Fake-Embedding")
            page.click("#examples button")
            page.see("#results-status", "5 of 24 entries")
    finally:
        loaded.set()
        over.set()
        thread.join()


def test_vectors_of_another_model_are_never_mixed(browser: Browser):
    port = free_port()
    with browser.page() as page:
        with serve(port) as web:
            page.open(web.url)
            settled(page)
            paste(page, ["rain", "snow"])
            page.see("#bases", "2 entries")
            settled(page)
        with serve(port, fingerprint="f2") as web:
            page.reload()
            page.see("#base-notice", "has changed")
            page.click("#examples, #question")
            page.type("rain")
            page.press("Enter")
            assert page.texts("#results li") == []
            page.click("#base-notice button")
            page.see("#bases", "2 entries")
            page.until("!document.querySelector('#base-notice').innerText.includes('changed')")
            settled(page)
            assert ask(page, "rain")[0] == "rain"
            assert web.observer.requests[0].texts == 2


@pytest.mark.slow
def test_a_model_that_changes_under_an_open_page_is_noticed(browser: Browser):
    """The server refuses the fingerprint that the page sends along."""
    port = free_port()
    with browser.page() as page:
        with serve(port) as web:
            page.open(web.url)
            settled(page)
        with serve(port, fingerprint="f2"):
            page.click("#examples button")
            page.see("#base-notice", "has changed")
            assert page.texts("#results li") == []


def test_an_entry_that_the_server_refuses_costs_only_itself(page: Page):
    """4096 bytes is this server's limit."""
    settled(page)
    paste(page, ["rain", "x" * 5000, "snow"])
    assert "4096" in page.see("#base-notice", "1 entry has no vector")
    settled(page)
    assert set(ask(page, "snow")) == {"snow", "rain"}
    (refusal,) = page.errors
    assert "400" in refusal
    page.errors.clear()


@pytest.mark.slow
def test_a_quota_is_waited_out(browser: Browser):
    """429 and Retry-After; the page asks again by itself."""
    with serve(settings={"client_tokens_per_minute": 3000}) as web, browser.page() as page:
        page.open(web.url)
        settled(page)
        paste(page, [f"{i} a text of some length, to use up what is allowed" for i in range(200)])
        page.see("#progress-text", "waiting for the server")
        assert "429" in " ".join(page.errors)
        page.click("#cancel")


def test_a_server_without_a_reranker_has_no_switch_for_it(page: Page):
    settled(page)
    assert not page.js("document.querySelector('#rerank-option').checkVisibility()")


@pytest.fixture(scope="module")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Settings of a server with a small random Qwen3-Reranker."""
    folder = str(tiny_reranker(tmp_path_factory.mktemp("model") / "tiny-reranker"))
    ranker = load_reranker(Settings(reranker=folder, device="cpu"))
    return {"reranker": folder, "load_ranker": lambda *_: ranker}


def test_reranking_shows_the_order_before_and_after(browser: Browser, reranker: dict[str, object]):
    """Each result says where it came from; without the switch the order is as before."""
    with serve(settings=reranker) as web, browser.page() as page:
        page.open(web.url)
        settled(page)
        paste(page, ["rain", "snow", "an old dog"])
        settled(page)
        before = ask(page, "rain")
        page.click("#rerank")
        page.see("#results", "before: place")
        after = page.texts("#results .text")
        assert sorted(after) == sorted(before)
        for place, text in enumerate(after, 1):
            shown = page.texts("#results .moved")[place - 1]
            was = before.index(text) + 1
            assert f"before: place {was}" in shown
            sign = "▲" if was > place else "▼" if was < place else "="
            assert shown.startswith(sign)
        scores = [float(shown) for shown in page.texts("#results .digits")]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)
        page.click("#rerank")
        page.until("document.querySelectorAll('.moved').length === 0")
        assert page.texts("#results .text") == before
        assert page.errors == []
