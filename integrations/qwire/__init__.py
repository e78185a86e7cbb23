"""Qwen3 embeddings over gRPC: the client.

    from qwire import Client

    with Client("localhost:50051") as client:
        vectors = client.embed_documents(["first text", "second text"])  # float32 (2, dim)
        question = client.embed_query("which one?")  # float32 (dim,)

`AsyncClient` has the same words for asyncio. Errors are drawn as one tree in `qwire.errors`.
"""

from qwire._version import __version__
from qwire.aio import AsyncClient
from qwire.client import Client
from qwire.errors import (
    ClosedError,
    ConnectionFailedError,
    DeadlineExceededError,
    FingerprintMismatchError,
    InvalidDimensionsError,
    InvalidRequestError,
    InvalidTextError,
    ModelFailedError,
    ModelNotFoundError,
    NotServedError,
    OverloadedError,
    PermissionDeniedError,
    QuotaExceededError,
    QwireError,
    RequestTooLargeError,
    ServerError,
    StreamLostError,
    TextTooLargeError,
    TextTooLongError,
    UnauthenticatedError,
)
from qwire.info import Description, Dimensions, Limits, Prompts, RerankerInfo, SelfCheck
from qwire.ranking import PartialScores, RankedDocument, Ranking
from qwire.results import Embeddings, PartialEmbeddings, StreamItem, TokenCounts
from qwire.stats import Books, ClassLoad, ClientLoad, Stats

__all__ = [
    "AsyncClient",
    "Books",
    "ClassLoad",
    "Client",
    "ClientLoad",
    "ClosedError",
    "ConnectionFailedError",
    "DeadlineExceededError",
    "Description",
    "Dimensions",
    "Embeddings",
    "FingerprintMismatchError",
    "InvalidDimensionsError",
    "InvalidRequestError",
    "InvalidTextError",
    "Limits",
    "ModelFailedError",
    "ModelNotFoundError",
    "NotServedError",
    "OverloadedError",
    "PartialEmbeddings",
    "PartialScores",
    "PermissionDeniedError",
    "Prompts",
    "QuotaExceededError",
    "QwireError",
    "RankedDocument",
    "Ranking",
    "RequestTooLargeError",
    "RerankerInfo",
    "SelfCheck",
    "ServerError",
    "Stats",
    "StreamItem",
    "StreamLostError",
    "TextTooLargeError",
    "TextTooLongError",
    "TokenCounts",
    "UnauthenticatedError",
    "__version__",
]
