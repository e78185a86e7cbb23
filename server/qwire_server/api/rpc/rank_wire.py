"""Between `qwire.v1` messages of reranking and our own types. Pure; no policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwire.v1 import embedding_pb2 as pb
from qwire.v1 import rerank_pb2 as rank_pb
from qwire_server.api.reranker import RankOptions, log_odds_of, scores_of
from qwire_server.api.rpc.wire import known, optional
from qwire_server.engine.work import RequestClass
from qwire_server.text.tokenizer import Truncate

if TYPE_CHECKING:
    from qwire_server.api.chunk import Answer
    from qwire_server.api.flow import Notice
    from qwire_server.api.reranker import Ranking
    from qwire_server.api.served import Served


def rank_options_from(message: rank_pb.RerankOptions) -> RankOptions:
    """Read options; a value 0 is the default of its kind.

    Raises:
        InvalidRequest: an enum has a value that this server does not know.
    """
    return RankOptions(
        model=optional(message, "model"),
        instruction=optional(message, "instruction"),
        truncate=known("truncate", Truncate, message.truncate, Truncate.END),
        raw_scores=message.raw_scores,
        request_class=known("request_class", RequestClass, message.request_class, None),
        expected_fingerprint=optional(message, "expected_fingerprint"),
    )


def rerank_response(
    request: rank_pb.RerankRequest, ranking: Ranking, served: Served
) -> rank_pb.RerankResponse:
    """Reply to `Rerank`: best first."""
    top_n = request.top_n if request.HasField("top_n") else None
    return rank_pb.RerankResponse(
        results=[
            rank_pb.RankedDocument(
                index=i,
                score=ranking.scores[i],
                document=request.documents[i] if request.return_documents else None,
            )
            for i in ranking.order(top_n)
        ],
        usage=pb.TextUsage(tokens=ranking.tokens, cut=ranking.cut),
        model=served.model,
        fingerprint=served.fingerprint,
    )


def rank_stream_response(answer: Answer, options: RankOptions) -> rank_pb.RerankStreamResponse:
    """One reply of `RerankStream` that holds scores, errors or both."""
    log_odds = log_odds_of(answer.rows)
    tokens, cut, unknown = zip(*answer.usage, strict=True) if answer.usage else ((), (), ())
    return rank_pb.RerankStreamResponse(
        ids=answer.ids,
        scores=log_odds if options.raw_scores else scores_of(log_odds),
        usage=pb.TextUsage(tokens=tokens, cut=cut, unknown=unknown),
        errors=[
            pb.TextError(id=i, code=error.code, message=error.message) for i, error in answer.errors
        ],
    )


def rank_notice(notice: Notice) -> rank_pb.RerankStreamResponse:
    """A reply that carries only a notice."""
    return rank_pb.RerankStreamResponse(notice=f"NOTICE_{notice.value}")
