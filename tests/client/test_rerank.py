"""`rerank` of both clients, and `qwire rerank`."""

from __future__ import annotations

import json

import grpc
import numpy as np
import pytest

import qwire
from qwire.cli import main
from qwire.v1 import embedding_pb2 as pb
from support.fake_server import RANKER, UNAVAILABLE, Refusal, score_of

QUERY = "which one?"
MANY = [f"document {i}" for i in range(300)]


def best_first(documents: list[str], query: str = QUERY) -> list[int]:
    """Positions by falling score, equal ones in order."""
    return sorted(range(len(documents)), key=lambda i: -score_of(query, documents[i]))


@pytest.mark.parametrize("count", [1, 2, 64, 65, 300])
def test_a_list_of_any_length_is_ranked_as_a_whole(client, count):
    ranking = client.rerank(QUERY, MANY[:count])
    assert [result.index for result in ranking] == best_first(MANY[:count])
    assert [r.score for r in ranking] == [score_of(QUERY, MANY[r.index]) for r in ranking]
    assert {type(result.score) for result in ranking} == {float}
    np.testing.assert_array_equal(ranking.scores, [score_of(QUERY, d) for d in MANY[:count]])
    assert (ranking.model, len(ranking)) == (RANKER, count)


def test_tokens_and_cuts_are_those_of_each_document(client):
    ranking = client.rerank(QUERY, ["a", "bxx", "xcx"])
    assert ranking.tokens.tolist() == [1, 3, 3]
    assert ranking.truncated.tolist() == [0, 2, 2]


def test_top_n_and_documents_are_as_asked(client):
    ranking = client.rerank(QUERY, MANY, top_n=3, return_documents=True)
    assert [result.index for result in ranking] == best_first(MANY)[:3]
    assert [result.document for result in ranking] == [MANY[r.index] for r in ranking]
    assert len(ranking.scores) == 300
    assert client.rerank(QUERY, MANY[:2], top_n=9)[1].document is None


def test_what_is_asked_for_reaches_the_server(server, client):
    client.rerank(
        QUERY,
        ["a"],
        instruction="Find it",
        raw_scores=True,
        truncate="START",
        model="other",
        expected_fingerprint=server.fingerprint,
    )
    request = server.seen[0].request
    assert (request.query, list(request.documents)) == (QUERY, ["a"])
    options = request.options
    assert (options.instruction, options.raw_scores, options.model) == ("Find it", True, "other")
    assert options.truncate == pb.TRUNCATE_START
    assert options.request_class == pb.REQUEST_CLASS_INTERACTIVE
    assert not request.return_documents


def test_the_model_of_the_client_is_its_embedding_model(server, connect):
    connect(server.target, model="fake/model").rerank(QUERY, ["a"])
    assert not server.seen[0].request.options.HasField("model")


def test_a_long_list_is_bulk(server, client):
    client.rerank(QUERY, MANY)
    reranks = [seen.request for seen in server.seen if seen.method == "Rerank"]
    assert {r.options.request_class for r in reranks} == {pb.REQUEST_CLASS_BULK}
    assert max(len(request.documents) for request in reranks) == 64


def test_no_documents_have_no_ranking(client):
    assert list(client.rerank(QUERY, [])) == []


@pytest.mark.parametrize(
    ("query", "documents", "options", "told"),
    [
        (1, ["a"], {}, "query must be a string"),
        ("\ud800", ["a"], {}, "query holds a lone surrogate"),
        ("q", "a", {}, "documents must be a list"),
        ("q", ["a", 2], {}, "text 1 is not a string"),
        ("q", ["a"], {"top_n": 0}, "top_n must be"),
        ("q", ["a"], {"truncate": "middle"}, "truncate must be"),
        ("q", ["a"], {"instruction": 3}, "instruction must be a string"),
    ],
)
def test_what_cannot_be_sent_is_refused_here(server, client, query, documents, options, told):
    with pytest.raises(qwire.InvalidRequestError, match=told):
        client.rerank(query, documents, **options)
    assert server.seen == []


def test_an_error_names_the_document_of_the_whole_list(server, client):
    server.refused_texts[MANY[170]] = Refusal(
        grpc.StatusCode.INVALID_ARGUMENT, "TEXT_TOO_LONG", "too long"
    )
    with pytest.raises(qwire.TextTooLongError) as caught:
        client.rerank(QUERY, MANY)
    assert caught.value.index == 170


def test_what_may_heal_is_tried_again(server, client):
    server.refusals["Rerank"].append(UNAVAILABLE)
    assert len(client.rerank(QUERY, ["a"])) == 1


def test_a_server_without_a_reranker_is_told_apart(server, client):
    server.refusals["Rerank"].append(
        Refusal(grpc.StatusCode.FAILED_PRECONDITION, "NOT_SERVED", "no reranker")
    )
    with pytest.raises(qwire.NotServedError, match="no reranker"):
        client.rerank(QUERY, ["a"])


def test_another_fingerprint_in_the_middle_is_refused(server, client):
    replies = iter(range(100))

    def change(reply):
        reply.fingerprint = f"f{next(replies)}"

    server.rewrite = change
    with pytest.raises(qwire.FingerprintMismatchError, match="the reranker behind the target"):
        client.rerank(QUERY, MANY)


@pytest.mark.parametrize("batch_size", [1, 2, None])
@pytest.mark.parametrize("raw_scores", [False, True])
def test_documents_are_sorted_by_log_odds_which_tie_less_than_probabilities(
    client, batch_size, raw_scores
):
    """Above 37 a probability is 1; equal log-odds keep their order, over all replies."""
    documents = ["40", "50", "-800", "38", "50", "45", "-900"]
    ranking = client.rerank(QUERY, documents, batch_size=batch_size, raw_scores=raw_scores)
    assert [result.index for result in ranking] == [1, 4, 5, 0, 3, 2, 6]
    scores = [float(d) for d in documents] if raw_scores else [1, 1, 0, 1, 1, 1, 0]
    np.testing.assert_allclose(ranking.scores, scores)


async def test_the_async_client_sorts_by_log_odds_too(server):
    async with qwire.AsyncClient(server.target) as client:
        ranking = await client.rerank(QUERY, ["40", "50"], batch_size=1)
    assert [result.index for result in ranking] == [1, 0]


def test_a_reply_that_leaves_a_document_out_is_refused(server, client):
    server.rewrite = lambda reply: reply.results.pop()
    with pytest.raises(qwire.ServerError, match="not one score for each document"):
        client.rerank(QUERY, ["a", "b"])


def test_the_command_prints_the_best_first(server, tmp_path, capsys):
    path = tmp_path / "documents.txt"
    path.write_text("one\n\ntwo\nthree\n")
    assert main(["rerank", QUERY, str(path), "--target", server.target]) == 0
    documents = ["one", "", "two", "three"]  # a blank line is one, as for `Client.rerank`
    assert capsys.readouterr().out.splitlines() == [
        f"{score_of(QUERY, documents[i]):.4f}\t{documents[i]}" for i in best_first(documents)
    ]


def test_the_command_prints_json_with_the_place_in_the_file(server, tmp_path, capsys):
    path = tmp_path / "documents.jsonl"
    documents = ["one\nline", "two", "three"]
    path.write_text("".join(json.dumps({"body": d}) + "\n" for d in documents))
    line = ["rerank", QUERY, str(path), "--field", "body", "--json", "--top-n", "2"]
    assert main([*line, "--target", server.target]) == 0
    found = [json.loads(each) for each in capsys.readouterr().out.splitlines()]
    assert [each["index"] for each in found] == best_first(documents)[:2]
    assert [each["document"] for each in found] == [documents[each["index"]] for each in found]


@pytest.mark.parametrize(
    ("content", "told"), [(b"good\n\xff\n", "line 2"), (None, "cannot be read")]
)
def test_the_command_refuses_what_it_cannot_read(server, tmp_path, capsys, content, told):
    path = tmp_path / "documents.txt"
    if content is not None:
        path.write_bytes(content)
    assert main(["rerank", QUERY, str(path), "--target", server.target]) == 2
    assert told in capsys.readouterr().err
