"""Every recipe against a real server: what it finds, not the figures that vary.

The demo model finds the right things; the small random Qwen3 has a reranker, takes instructions and
stands for another model.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import bulk_async
import clusters
import code_search
import compare_models
import cross_language
import duplicates
import faq
import hybrid_langchain
import hybrid_llama_index
import instructions
import long_documents
import move_index
import openai_sdk
import pytest
import query_engine_qdrant
import rag_qdrant
import search_service
import uvicorn
from corpus import load_articles, load_tickets
from keywords import EXACT
from keywords import words as words_of

from qwire import Client
from support import web_client
from support.machine_speed import hang_limit
from support.web_front import front

pytestmark = pytest.mark.timeout(180)  # each embeds some hundred texts, on machines that are busy
TITLES = {article.title: article for article in load_articles("en")}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """What a recipe keeps on disk goes to the working directory."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def lines(capsys):
    """What was printed since the last call."""
    return lambda: list(capsys.readouterr().out.splitlines())


def first_number(line):
    return int(re.search(r"\d+", line)[0])


def reranked(target, question):
    """The titles that the reranker puts first among the 20 nearest."""
    passages = [article.passage for article in TITLES.values()]
    with Client(target) as client:
        near = (client.embed_documents(passages) @ client.embed_query(question)).argsort()[::-1]
        best = client.rerank(question, [passages[i] for i in near[:20]], top_n=3)
    return [list(TITLES)[near[result.index]] for result in best]


def places(printed):
    return [line[3:] for line in printed if re.match(r"[123]\. ", line)]


def test_the_chain_answers_and_finds_its_store_again(demo_server, lines):
    """Without a reranker the first stage answers, and says that it is alone."""
    rag_qdrant.main(demo_server)
    made = lines()
    assert made[0].endswith("100 articles, new")
    assert made[1] == "second stage: off: the server has no --reranker"
    assert places(made)[0] == "A disputed card payment suspends the workspace"
    assert "\n".join(made[5:]) == TITLES[places(made)[0]].passage

    rag_qdrant.main(demo_server)
    again = lines()
    assert again[0].endswith("100 articles, found on disk")
    assert again[1:] == made[1:]


@pytest.mark.parametrize("recipe", [rag_qdrant, query_engine_qdrant])
def test_the_second_stage_decides_the_order(recipe, qwen_server, lines):
    """Also on the second run, from disk."""
    expected = reranked(qwen_server, recipe.QUESTION)
    for kept in ("new", "found on disk"):
        recipe.main(qwen_server)
        printed = lines()
        assert printed[0].endswith(f"100 articles, {kept}")
        assert printed[1].startswith("second stage: ")
        assert "off" not in printed[1]
        assert places(printed) == expected
        assert "\n".join(printed[5:]) == TITLES[expected[0]].passage


def test_the_query_engine_answers_without_a_second_stage(demo_server, lines):
    query_engine_qdrant.main(demo_server)
    printed = lines()
    assert printed[1] == "second stage: off: the server has no --reranker"
    assert places(printed)[0] == "A disputed card payment suspends the workspace"


def test_the_service_searches_and_keeps_its_index(demo_server, tmp_path):
    """Over a real socket; the second start embeds nothing."""
    app = search_service.build_app(demo_server, tmp_path)
    (file,) = tmp_path.glob("*.faiss")
    with Client(demo_server) as client:
        assert file.stem == client.describe().fingerprint
    written = file.stat().st_mtime_ns
    assert search_service.open_index(demo_server, tmp_path)[0].ntotal == len(TITLES)
    assert file.stat().st_mtime_ns == written

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        query = {"q": "I forgot my password and nothing turned up in my inbox", "k": 2}
        found = web_client.get(
            f"http://127.0.0.1:{port}/search", params=query, timeout=hang_limit(60)
        ).json()
    finally:
        server.should_exit = True
        thread.join()
    assert [len(found), found[0]["id"]] == [2, "reset-mail-missing"]
    assert found[0]["score"] > found[1]["score"]


@pytest.mark.parametrize(
    "recipe", [hybrid_langchain, pytest.param(hybrid_llama_index, marks=pytest.mark.slow)]
)
def test_both_find_what_one_misses(recipe, demo_server, lines):
    """Words find each code first, vectors what is meant; both lose neither among three."""
    recipe.main(demo_server)
    words, vectors, both = (re.findall(r"(\d+), (\d+) of", line) for line in lines()[1:])
    exact, meant = 0, 1
    assert words[exact] == ("5", "5")
    assert int(vectors[exact][0]) < 5
    assert both[exact][1] == "5"
    assert int(both[exact][0]) >= int(vectors[exact][0])
    assert int(both[meant][1]) >= int(vectors[meant][1]) - 2 > int(words[meant][1])


def test_llama_index_finds_the_codes_by_their_words(qwen_server, lines):
    """Whatever the vectors say."""
    hybrid_llama_index.main(qwen_server)
    assert re.findall(r"(\d+), (\d+) of", lines()[1])[0] == ("5", "5")


def test_the_exact_queries_are_in_their_articles():
    articles = {article.id: article for article in load_articles("en")}
    for query, name in EXACT.items():
        assert set(words_of(query)) <= set(words_of(articles[name].passage))


def test_the_faq_is_judged(demo_server, lines):
    """Top-1, Top-3 and MRR in their bounds, and each miss with what came instead."""
    faq.main(demo_server)
    head, embeddings, *misses = lines()
    assert head.startswith("44 questions, 100 articles")
    top1, top3, mrr = map(float, re.findall(r"[\d.]+", embeddings))
    assert 60 < top1 < top3 <= 100
    assert top1 < 100 * mrr < top3
    assert sum("missed: " in line for line in misses) == round(44 * (1 - top1 / 100))


def test_the_faq_judges_the_second_stage(qwen_server, lines):
    faq.main(qwen_server)
    assert [line.split("  ")[0] for line in lines()[1:3]] == ["embeddings", "then reranker"]


def test_clusters_are_purer_than_chance(demo_server, lines):
    clusters.main(demo_server)
    printed = lines()
    assert sum(first_number(line) for line in printed[:-1:2]) == len(load_tickets())
    assert float(re.search(r"purity: ([\d.]+)", printed[-1])[1]) > 0.8


def test_duplicates_come_before_what_is_only_alike(demo_server, lines):
    """At the default threshold all six pairs are found, and little else."""
    duplicates.main(demo_server)
    printed = lines()
    table = {float(row.split()[0]): row.split()[1:] for row in printed[printed.index("") + 2 :]}
    assert table[0.7][0] == "6"
    assert int(table[0.7][1]) <= 2
    assert int(table[0.5][1]) > int(table[0.7][1]) >= int(table[0.9][1])
    assert "x" not in printed[0].split()[1:2]


def test_code_is_found_by_what_it_does(demo_server, lines):
    code_search.main(demo_server)
    found = dict(zip(*[iter(lines())] * 2, strict=True))
    names = [line.split()[1] for line in found.values()]
    assert names[0] == "shutil.disk_usage"
    assert names[1:4] == ["difflib.get_close_matches", "functools.lru_cache", "textwrap.dedent"]


def test_code_search_sends_its_instruction(qwen_server, lines):
    """Another query vector than the model's own task gives."""
    question = "Is it a leap year?"
    code_search.main(qwen_server, question)
    assert lines()[0] == question


def test_an_english_model_says_so(demo_server, lines):
    """Rather than let luck look like a result."""
    cross_language.main(demo_server)
    printed = lines()
    assert "reads English only" in printed[0]
    assert "luck" in printed[1]
    assert printed[-1].endswith("of 10")


def test_a_model_of_many_languages_is_not_excused(qwen_server, lines):
    cross_language.main(qwen_server)
    printed = lines()
    assert "English only" not in printed[0]
    assert sum(" asks " in line for line in printed) == 10


@pytest.mark.slow
def test_two_models_are_compared(demo_server, qwen_server, lines):
    """The trained one wins, and the counts add up."""
    compare_models.main(demo_server, qwen_server)
    _, trained, random, counts = lines()
    ranks = [float(re.findall(r"([\d.]+)%", row)[0]) for row in (trained, random)]
    assert ranks[0] > ranks[1]
    both, first, second = map(int, re.findall(r"\d+", counts))
    assert round(66 * ranks[0] / 100) == both + first
    assert round(66 * ranks[1] / 100) == both + second


def test_one_model_is_one_row(qwen_server, lines):
    compare_models.main(qwen_server)
    assert lines()[-1] == "One server, one row: name a second one to compare."


def test_an_index_moves_to_another_model(demo_server, qwen_server, lines, tmp_path):
    """Made, found, refused and made again; nothing half-written stays."""
    move_index.main(demo_server)
    assert [lines()[0], move_index.main(demo_server)] == ["articles.npz: made", None]
    (again,) = lines()
    assert again.endswith("reset-mail-missing")
    move_index.main(qwen_server)
    refused, moved, answer = lines()
    assert refused.startswith("refused: ")
    assert moved == "articles.npz: made again"
    assert answer.split()[1] != again.split()[1]
    assert [path.name for path in tmp_path.iterdir()] == ["articles.npz"]


def test_a_model_without_instructions_says_so(demo_server, lines):
    instructions.main(demo_server)
    printed = lines()
    assert "takes no instructions" in printed[0]
    assert sum(line.startswith("  ") for line in printed) == 3


def test_three_instructions_are_three_queries(qwen_server, lines):
    instructions.main(qwen_server)
    printed = lines()
    assert sum(line.startswith("  ") for line in printed) == 9
    cosines = [float(line.split()[-1]) for line in printed if line.startswith("cosine")]
    assert len(cosines) == 3
    assert all(cosine < 0.9999 for cosine in cosines)


def test_pieces_find_more_than_what_is_cut_off(demo_server, lines):
    long_documents.main(demo_server)
    size, whole, pieces, cut = lines()
    assert first_number(size) == 5
    assert first_number(pieces.partition(":")[2]) > first_number(whole.partition(":")[2])
    assert cut.endswith("0 tokens cut off")


def test_pieces_lose_nothing(qwen_server):
    """Every sentence is in a piece, and no piece is longer than asked for."""
    text = "\n".join(article.passage for article in list(TITLES.values())[:8])
    with Client(qwen_server) as client:
        pieces = long_documents.split(client, text, 200)
        counts = client.count_tokens(pieces).tokens
    assert len(pieces) > 3
    assert all(sentence in " ".join(pieces) for sentence in re.split(r"(?<=[.!?])\s+|\n+", text))
    assert counts.max() <= 200 + 20


def test_questions_are_answered_during_the_bulk(demo_server, lines):
    """And one text that is far too long stops nothing."""
    asyncio.run(bulk_async.main(demo_server, "60"))
    *asked, done, failed = lines()
    assert len(asked) == bulk_async.NUM_QUESTIONS
    assert "bulk is running" in asked[0]
    assert done.startswith("59 of 60 texts")
    assert failed.startswith("  failed: row-7: ")


def test_the_openai_package_indexes_and_asks(lines):
    """Both ways to ask for the query prompt are one."""
    with front(dim=16, request_tokens=100_000) as server:
        openai_sdk.main(f"{server.url}/v1")
    model, best, same = lines()
    assert "(100, 16)" in model
    assert best.partition("  ")[2] in TITLES
    assert same.endswith("True")


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("clusters.py", "purity"),
        ("rag_qdrant.py", "second stage: "),
        pytest.param("query_engine_qdrant.py", "second stage: ", marks=pytest.mark.slow),
        pytest.param("hybrid_langchain.py", "both", marks=pytest.mark.slow),
        pytest.param("hybrid_llama_index.py", "both", marks=pytest.mark.slow),
        pytest.param("bulk_async.py", "bulk is", marks=pytest.mark.slow),
        pytest.param("code_search.py", "left on the drive", marks=pytest.mark.slow),
        pytest.param("compare_models.py", "One server", marks=pytest.mark.slow),
        pytest.param("cross_language.py", "answer first", marks=pytest.mark.slow),
        pytest.param("duplicates.py", "threshold", marks=pytest.mark.slow),
        pytest.param("faq.py", "Top-1", marks=pytest.mark.slow),
        pytest.param("instructions.py", "legal risk", marks=pytest.mark.slow),
        pytest.param("long_documents.py", "pieces of", marks=pytest.mark.slow),
        pytest.param("move_index.py", "articles.npz: made", marks=pytest.mark.slow),
    ],
)
def test_a_recipe_is_a_script(script, told, qwen_server, tmp_path):
    """It needs no argument where QWIRE_TARGET names the server, and warns of nothing."""
    done = subprocess.run(
        [sys.executable, str(Path(faq.__file__).with_name(script))],
        cwd=tmp_path,
        env=os.environ | {"QWIRE_TARGET": qwen_server, "PYTHONWARNINGS": "error::ResourceWarning"},
        capture_output=True,
        encoding="utf-8",
        timeout=hang_limit(150),
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert told in done.stdout
