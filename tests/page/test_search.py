"""From a first visit to ranked results, in a real browser against a real server."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from support import web_client
from support.browser import Browser, Page
from support.page import ask, choose, paste, settled
from support.web_front import Front

TEXTS = ["a bird in the hand", "two birds in the bush", "rain", "snow on the hill", "an old dog"]


def documents_sent(web: Front, since: int) -> int:
    return sum(record.texts for record in web.observer.requests[since:])


def test_a_first_visit_finds_a_sample_that_is_indexed_and_questions_to_try(page: Page, web: Front):
    settled(page)
    assert page.texts("#bases .name")[0] == "Help centre"
    assert "24 entries" in page.text("#bases li:has(:checked)")
    page.click("#examples button")
    page.see("#results-status", "5 of 24 entries")
    assert len(page.texts("#results li")) == 5
    digits = page.texts("#results .digits")
    assert all(re.fullmatch(r"-?\d\.\d{4}", shown) for shown in digits)
    assert digits == sorted(digits, key=float, reverse=True)


def test_pasted_texts_are_found_by_their_vectors(page: Page):
    """The fake model gives equal texts equal vectors: they score 1, all else is weak."""
    settled(page)
    paste(page, [*TEXTS, "", "  "])
    page.see("#bases", "5 entries")
    settled(page)
    assert ask(page, "rain")[0] == "rain"
    assert page.texts("#results .digits")[0] == "1.0000"
    assert page.texts("#results .strong .text") == ["rain"]
    assert page.js("document.querySelector('.strong .bar').ariaValueNow") == "1.0000"
    for part, colour in (("filled", "backgroundColor"), ("digits", "color")):
        style = f"[...document.querySelectorAll('.KIND .{part}')].map((one) => "
        style += f"getComputedStyle(one).{colour})"
        strong, weak = (set(page.js(style.replace("KIND", kind))) for kind in ("strong", "weak"))
        assert strong.isdisjoint(weak)


def test_scores_are_the_servers_for_every_dimension_that_it_allows(page: Page, web: Front):
    """Cutting in the browser is what cutting on the server is."""
    settled(page)
    paste(page, TEXTS)
    settled(page)
    ask(page, "a dog in the rain")
    slider = page.js("(({min, max, disabled}) => ({min, max, disabled}))(dimensions)")
    assert slider == {"min": "2", "max": "32", "disabled": False}
    for dimensions in (32, 7, 2):
        choose(page, "#dimensions", dimensions)
        page.until(f"document.querySelector('#dimensions-value').value === '{dimensions}'")
        body = {"input": ["a dog in the rain", *TEXTS], "dimensions": dimensions, "instruction": ""}
        data = web_client.post(f"{web.url}/v1/embeddings", json=body).json()["data"]
        rows = np.array([one["embedding"] for one in data])
        scores = dict(zip(TEXTS, rows[1:] @ rows[0], strict=True))
        order = sorted(TEXTS, key=lambda text: scores[text], reverse=True)
        page.until(f"document.querySelector('#results .text').innerText === {json.dumps(order[0])}")
        assert page.texts("#results .text") == order
        shown = [float(digits) for digits in page.texts("#results .digits")]
        assert shown == pytest.approx([scores[text] for text in order], abs=1e-4)


@pytest.mark.slow
def test_how_many_and_what_is_strong_are_yours_to_say_and_remembered(page: Page):
    settled(page)
    paste(page, TEXTS)
    settled(page)
    ask(page, "snow")
    choose(page, "#top-k", 2)
    page.see("#results-status", "2 of 5")
    choose(page, "#threshold", 0)
    page.until("document.querySelectorAll('#results .strong').length > 0")
    choose(page, "#threshold", 1)
    page.until("document.querySelectorAll('#results .strong').length === 0")
    page.reload()
    page.until("document.querySelector('#top-k-value').value === '2'")
    assert page.js("threshold.value") == "1"


@pytest.mark.slow
def test_an_instruction_goes_to_the_server_in_the_models_own_template(page: Page, web: Front):
    settled(page)
    paste(page, TEXTS)
    settled(page)
    ask(page, "rain", bare=False)
    assert page.texts("#results .digits")[0] != "1.0000"  # the model's own prompt
    choose(page, "#preset", "similar")
    page.see("#instruction-note", "Retrieve texts that mean the same")
    choose(page, "#preset", "custom")
    page.see("#instruction")
    choose(page, "#instruction", "Find what barks")
    assert ask(page, "rain", bare=False)
    shown = float(page.texts("#results .digits")[0])
    query = {"input": "rain", "input_type": "query", "instruction": "Find what barks"}
    ((row,), rows) = (
        [
            one["embedding"]
            for one in web_client.post(f"{web.url}/v1/embeddings", json=body).json()["data"]
        ]
        for body in (query, {"input": TEXTS})
    )
    assert shown == pytest.approx(max(np.array(rows) @ np.array(row)), abs=1e-4)


@pytest.mark.parametrize(
    ("name", "content", "entries"),
    [
        ("kb.jsonl", '{"id": 1, "text": "rain"}\n"snow"\n', ["rain", "snow"]),
        ("kb.csv", 'id,question,answer\n1,"Wet, why?","It ""rains"""\n', ['Wet, why? It "rains"']),
        ("kb.txt", "雨\r\n\r\n雪\n", ["雨", "雪"]),
    ],
)
def test_a_chosen_file_becomes_a_base(
    page: Page, tmp_path: Path, name: str, content: str, entries: list[str]
):
    settled(page)
    (tmp_path / name).write_bytes(content.encode())
    page.choose_files("#file", [tmp_path / name])
    page.see("#pending", f"{name}: {len(entries)} entries")
    page.click("#index")
    page.see("#bases .name", name)
    settled(page)
    page.click("#entries summary")
    page.see("#entry-list", entries[-1])
    assert page.texts("#entry-list li") == entries


def test_a_dropped_file_is_taken(page: Page):
    settled(page)
    page.js(
        "{ const files = new DataTransfer();"
        "files.items.add(new File(['one\\ntwo'], 'dropped.txt'));"
        "document.body.dispatchEvent("
        "new DragEvent('drop', {bubbles: true, cancelable: true, dataTransfer: files})); }"
    )
    page.see("#pending", "dropped.txt: 2 entries")
    page.click("#discard")
    page.until("document.querySelector('#pending').hidden")


def test_texts_are_shown_as_texts(page: Page):
    settled(page)
    nasty = "<img src=x onerror=alert(1)><b>rain</b>"
    paste(page, [nasty, "snow"])
    settled(page)
    assert ask(page, nasty)[0] == nasty
    assert page.js("document.querySelectorAll('#results img, #results b').length") == 0


def test_a_reload_keeps_bases_and_vectors_and_the_server_is_not_asked_again(page: Page, web: Front):
    settled(page)
    paste(page, TEXTS)
    page.see("#bases", "5 entries")
    settled(page)
    since = len(web.observer.requests)
    page.reload()
    settled(page)
    assert "My texts 1" in page.text("#bases li:has(:checked)")
    assert ask(page, "an old dog")[0] == "an old dog"
    assert page.texts("#results .digits")[0] == "1.0000"
    assert documents_sent(web, since) == 1  # the question


@pytest.mark.slow
def test_a_base_can_be_removed(page: Page):
    settled(page)
    paste(page, TEXTS)
    page.see("#bases .name", "My texts 1")
    settled(page)
    page.click("#bases .remove")
    page.until("!document.querySelector('#bases').innerText.includes('My texts')")
    page.reload()
    settled(page)
    assert "My texts" not in page.text("#bases")


def test_behind_the_scenes_tells_what_the_server_told(page: Page, web: Front):
    settled(page)
    ask(page, "rain")
    page.click("#behind summary")
    shown = page.see("#behind-body", "32 values")
    body = {"input": "rain", "instruction": ""}
    told = web_client.post(f"{web.url}/v1/embeddings", json=body).json()
    row = told["data"][0]["embedding"]
    assert f"{max(row):.4f}" in shown
    assert f"{min(row):.4f}".replace("-", "\u2212") in shown
    assert page.js("document.querySelectorAll('.chart rect').length") == 32
    for part in ("queue", "tokenizer", "model"):
        assert re.search(rf"{part} \d+\.\d ms", shown)
    assert told["fingerprint"] in shown


def test_the_map_shows_every_entry_and_the_question(page: Page):
    settled(page)
    paste(page, TEXTS)
    settled(page)
    ask(page, "rain")
    page.click("#map summary")
    page.until("document.querySelectorAll('.map circle').length === 5")
    assert page.js("document.querySelectorAll('.map .question').length") == 1
    strong = "[...document.querySelectorAll('.map .strong text')].map((one) => one.textContent)"
    assert page.js(strong) == ["1"]


def test_a_key_is_sent_and_forgotten_with_the_tab(page: Page):
    settled(page)
    page.click("#key-button")
    page.see("#key-dialog")
    page.click("#key")
    page.type("secret-1")
    page.press("Enter")
    page.until("!document.querySelector('#key-dialog').open")
    ask(page, "rain")
    assert page.keys[-1] == "Bearer secret-1"
    assert page.js("sessionStorage.getItem('qwire-key')") == "secret-1"
    assert "secret" not in page.js("JSON.stringify(localStorage)")


@pytest.mark.slow
def test_storage_that_is_off_is_no_end(browser: Browser, web: Front):
    """As in some private windows."""
    with browser.page() as page:
        page.send(
            "Page.addScriptToEvaluateOnNewDocument",
            source="indexedDB.open = () => { throw new DOMException('no', 'SecurityError'); };",
        )
        page.open(web.url)
        page.see("#alerts", "keeps nothing")
        settled(page)
        paste(page, TEXTS)
        settled(page)
        assert ask(page, "rain")[0] == "rain"
        assert page.errors == []
