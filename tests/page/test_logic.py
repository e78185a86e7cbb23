"""The page's own modules, run where they run: in the browser, beside numpy where numpy knows it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from support.browser import Browser, Page
from support.web_front import Front


@pytest.fixture(scope="module")
def modules(browser: Browser, web: Front):
    """A page that did nothing yet, to import modules into."""
    with browser.page() as opened:
        opened.open(f"{web.url}/docs")
        yield opened


def call(page: Page, module: str, body: str, **values: object):
    """Run a function's body with a module's exports as `m`."""
    given = "".join(f"const {name} = {json.dumps(value)};" for name, value in values.items())
    return page.js(f"await (async (m) => {{ {given} {body} }})(await import('/{module}.js'))")


@pytest.mark.parametrize(
    ("name", "text", "entries"),
    [
        ("a.txt", "one\n\n two \r\nthree", ["one", "two", "three"]),
        ("a.md", "# one", ["# one"]),
        ("a.csv", "one,two\n", ["one two"]),
        ("a.csv", "text\none\n", ["one"]),
        ("a.csv", "id;Text\n1;one\n2;\n3;three", ["one", "three"]),
        ("a.tsv", "问题\t答案\n谁\t我", ["谁 我"]),
        ("a.csv", 'text\n"two\nlines, ""quoted"""\n', ['two\nlines, "quoted"']),
        ("a.csv", 'text\n5" wide\n', ['5" wide']),
        ("a.jsonl", '{"body": "one", "n": 1}\n"two"\n3\nnot json', ["one", "two", "3", "not json"]),
        ("a.jsonl", '{"x": "one", "y": "two"}\n{"n": 1}\nnull', ["one two", "null"]),
        ("A.CSV", "text\none", ["one"]),
        ("a.pdf", "%PDF\0", []),
        ("a.txt", "", []),
    ],
)
def test_parsing(modules: Page, name: str, text: str, entries: list[str]):
    assert call(modules, "parse", "return m.parse(name, text);", name=name, text=text) == entries


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_files_of_chinese_spreadsheets_are_read(modules: Page, encoding: str):
    """Whatever wrote them, and without its mark."""
    data = list("退款需要几天？".encode(encoding))
    body = "return m.decode(new Uint8Array(data).buffer);"
    assert call(modules, "parse", body, data=data) == "退款需要几天？"


def test_cosines_cuts_and_order(modules: Page):
    rows = np.random.default_rng(1).normal(size=(20, 16))
    query = np.random.default_rng(2).normal(size=16)
    rows[7] = 0
    for dimensions in (16, 5):
        body = "return [...m.cosines(query, rows, dimensions)];"
        got = call(
            modules, "search", body, query=[*query], rows=rows.tolist(), dimensions=dimensions
        )
        cut, short = rows[:, :dimensions], query[:dimensions]
        lengths = np.linalg.norm(cut, axis=1) * np.linalg.norm(short)
        lengths[7] = 1
        np.testing.assert_allclose(got, cut @ short / lengths, atol=1e-6)
    best = call(modules, "search", "return m.best(new Float32Array([1, 3, 3, 2]), 3);")
    assert best == [1, 2, 3]
    short = call(modules, "search", "return m.cut([3, 4, 12], 2);")
    assert short == pytest.approx([0.6, 0.8])


def test_the_map_is_the_plane_of_greatest_spread(modules: Page):
    """Up to signs, the same as numpy's singular vectors."""
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(40, 12)) * np.array([9, 4, *[1] * 10])
    got = np.array(call(modules, "pca", "return m.flat(rows);", rows=rows.tolist()))
    centred = rows - rows.mean(axis=0)
    expected = centred @ np.linalg.svd(centred)[2][:2].T
    for axis in (0, 1):
        sign = np.sign(got[:, axis] @ expected[:, axis])
        np.testing.assert_allclose(got[:, axis] * sign, expected[:, axis], atol=0.02)


@pytest.mark.parametrize("rows", [[], [[1.0, 2.0]], [[1.0, 2.0]] * 5])
def test_a_map_of_nothing_much_is_no_error(modules: Page, rows: list[list[float]]):
    points = call(modules, "pca", "return m.flat(rows);", rows=rows)
    assert points == [[0, 0]] * len(rows)


@pytest.mark.parametrize(
    ("languages", "text", "foreign"),
    [
        (["en"], "How are you?", False),
        (["en"], "退款需要几天", True),
        (["en"], "What does 你好 mean in English, please?", False),
        (["en"], "Что это?", True),
        (["en"], "123 ...", False),
        (["zh", "en"], "退款需要几天", False),
        (["zh-Hans"], "退款 refund", False),
        (["zh"], "こんにちは", True),
        (["ja"], "日本語です", False),
        (["mul"], "退款需要几天", False),
        ([], "退款需要几天", False),
        (["xx"], "退款需要几天", False),
    ],
)
def test_a_script_is_foreign_to_a_model(
    modules: Page, languages: list[str], text: str, *, foreign: bool
):
    body = "return m.isForeign(text, m.knownScripts(languages));"
    assert call(modules, "language", body, languages=languages, text=text) is foreign


def test_a_question_of_unknown_tokens_is_lost(modules: Page):
    body = "return usages.map(m.isMostlyUnknown);"
    usages = [
        {"prompt_tokens": 10, "unknown_tokens": 7},
        {"prompt_tokens": 10, "unknown_tokens": 1},
        {"prompt_tokens": 10},
    ]
    assert call(modules, "language", body, usages=usages) == [True, False, False]


def test_batches_have_few_texts_and_characters_and_at_least_one(modules: Page):
    body = """
      const sizes = [];
      for (let first = 0; first < texts.length; first += sizes.at(-1)) {
        sizes.push(m.batchFrom(texts, first, 32).length);
      }
      return sizes;
    """
    assert call(modules, "indexing", body, texts=["a"] * 70) == [32, 32, 6]
    large = ["a" * 40_000, "b", "c" * 20_000, "d" * 20_000]
    assert call(modules, "indexing", body, texts=large) == [1, 2, 1]


def test_a_request_that_is_too_large_goes_in_halves_and_a_culprit_alone(modules: Page):
    """`b` is refused by its place, more than two texts at once for their size."""
    body = """
      const { Refused } = await import('/api.js');
      const asked = [];
      const answer = await m.answered(['a', 'b', 'c', 'd', 'e'], async (texts) => {
        asked.push(texts.join(''));
        if (texts.length > 2) throw new Refused(413, { message: 'too large' });
        const place = texts.indexOf('b');
        if (place >= 0) throw new Refused(400, { message: 'bad', param: `input[${place}]` });
        return { vectors: texts, usage: { prompt_tokens: texts.length }, fingerprint: 'f' };
      });
      return [asked, answer.vectors, answer.usage.prompt_tokens, [...answer.failed]];
    """
    asked, vectors, tokens, failed = call(modules, "indexing", body)
    assert asked == ["abcde", "ab", "a", "cde", "c", "de"]
    assert vectors == ["a", None, "c", "d", "e"]
    assert tokens == 4
    assert failed == [[1, "bad"]]


def test_a_busy_server_is_asked_again_when_it_says_and_no_other_error_is(modules: Page):
    body = """
      const seen = [];
      const began = performance.now();
      const answers = [429, 503].map((status) => new m.Refused(status, { message: '' }, 60));
      const work = async () => { if (answers.length) throw answers.shift(); return 'done'; };
      seen.push(await m.patiently(work, { waiting: (error) => seen.push(error.status) }));
      seen.push(performance.now() - began >= 115);
      const refuse = async () => { throw new m.Refused(400, { message: 'no' }); };
      seen.push(await m.patiently(refuse, {}).catch((error) => error.message));
      const abort = new AbortController();
      const busy = async () => { throw new m.Refused(429, { message: '' }, 60000); };
      setTimeout(() => abort.abort(), 20);
      seen.push(await m.patiently(busy, { signal: abort.signal }).catch((error) => error.name));
      return seen;
    """
    assert call(modules, "api", body) == [429, 503, "done", True, "no", "AbortError"]


def test_server_timing_is_read(modules: Page):
    header = "tokenizer;dur=1.5, queue;dur=0, model;desc=x;dur=20, odd"
    told = call(modules, "api", "return m.timing(header);", header=header)
    assert told == {"tokenizer": 1.5, "queue": 0, "model": 20}
