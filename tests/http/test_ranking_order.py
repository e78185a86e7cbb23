"""Documents are sorted by log-odds, which differ where the numbers from 0 to 1 are all 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qwire.v1 import rerank_pb2 as rank_pb
from qwire_server.api.reranker import Ranking
from qwire_server.api.rpc import rank_wire
from qwire_server.api.tei import wire
from qwire_server.engine.work import Rows
from qwire_server.pb.tei.v1 import tei_pb2 as tei
from support import web_client
from support.web_front import Front

# As numbers from 0 to 1, all but one of these are 1.0 exactly.
LOG_ODDS = [38.0, 41.0, 0.0, 40.0, 41.0]
ORDER = [1, 4, 3, 0, 2]
DOCUMENTS = ["a", "b", "c", "d", "e"]


def ranking(*, raw: bool = False) -> Ranking:
    scores = LOG_ODDS if raw else rank_wire.scores_of(LOG_ODDS)
    return Ranking(scores, LOG_ODDS, [1] * 5, [0] * 5)


def test_scores_are_ones_and_the_order_is_of_log_odds_with_ties_by_index():
    assert ranking().scores == [1.0, 1.0, 0.5, 1.0, 1.0]
    assert ranking().order() == ORDER
    assert ranking().order(2) == ORDER[:2]


@pytest.mark.parametrize("raw", [False, True])
def test_grpc_sorts_so(web: Front, raw: bool):
    request = rank_pb.RerankRequest(query="q", documents=DOCUMENTS)
    embedder = web.server._gate.embedder()
    told = rank_wire.rerank_response(request, ranking(raw=raw), embedder.served)
    assert [result.index for result in told.results] == ORDER


@pytest.mark.parametrize("raw", [False, True])
def test_tei_v1_sorts_so(raw: bool):
    """Its scores are float32, where all above 17 are 1."""
    told = wire.rerank_response(LOG_ODDS, DOCUMENTS, tei.Metadata(), raw=raw)
    assert [rank.index for rank in told.ranks] == ORDER
    assert [rank.text for rank in told.ranks] == [DOCUMENTS[i] for i in ORDER]
    assert told.ranks[0].score == (41 if raw else 1)


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank", "/"])
def test_every_form_over_http_sorts_so(web: Front, path: str, monkeypatch: pytest.MonkeyPatch):
    class Reranker:
        served = web.server._gate.embedder().served

        async def rerank(self, *_: Any) -> Ranking:
            return ranking()

    monkeypatch.setattr(web.server._gate, "reranker", Reranker)
    for field in ("texts",) if path == "/" else ("documents",):
        body = {"query": "q", field: DOCUMENTS}
        told = web_client.post(web.url + path, json=body).json()
        results = told if isinstance(told, list) else told["results"]
        assert [result["index"] for result in results] == ORDER


def test_rows_are_read_as_log_odds():
    rows = Rows(np.array(LOG_ODDS, "<f4").tobytes(), 5, b"")
    from qwire_server.api.reranker import log_odds_of  # noqa: PLC0415

    assert log_odds_of(rows) == LOG_ODDS
