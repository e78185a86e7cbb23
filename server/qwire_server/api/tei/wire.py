"""Between `tei.v1` messages and our own types. Pure; no policy."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from qwire._version import __version__
from qwire_server.api.call import Options
from qwire_server.api.reranker import RankOptions, ranked, scores_of
from qwire_server.errors import InvalidRequest
from qwire_server.pb.tei.v1 import tei_pb2 as pb
from qwire_server.text.prompts import InputType, prompt_for, prompt_named
from qwire_server.text.tokenizer import Truncate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwire_server.api.served import Served
    from qwire_server.api.timings import Timings
    from qwire_server.checkpoint.model_prompts import Prompts
    from qwire_server.text.spelling import Token

_NANOSECONDS = 1e9
_EMBEDDINGS = b"\x0a"  # field 1 of EmbedResponse, length-delimited: packed little-endian floats


def options_from(request: pb.EmbedRequest) -> Options:
    """How a text is to be embedded.

    Raises:
        InvalidRequest: an enum has a value that this server does not know.
    """
    name = request.prompt_name if request.HasField("prompt_name") else None
    return Options(
        input_type=InputType.NONE if name is None else None,
        prompt_name=name,
        dimensions=request.dimensions if request.HasField("dimensions") else None,
        normalize=request.normalize if request.HasField("normalize") else True,
        truncate=truncation(truncate=request.truncate, direction=request.truncation_direction),
    )


def options_key(request: pb.EmbedRequest) -> tuple[object, ...]:
    """Equal for requests of equal options; cheaper than the options themselves."""
    return (
        request.truncate,
        request.truncation_direction,
        request.normalize if request.HasField("normalize") else True,
        request.prompt_name if request.HasField("prompt_name") else None,
        request.dimensions if request.HasField("dimensions") else None,
    )


def encode_key(request: pb.EncodeRequest) -> tuple[object, ...]:
    """Equal for requests that can be tokenised together."""
    name = request.prompt_name if request.HasField("prompt_name") else None
    return request.add_special_tokens, name


def decode_key(request: pb.DecodeRequest) -> bool:
    """Equal for requests that can be decoded together."""
    return request.skip_special_tokens


def prompt_of(request: pb.EncodeRequest, prompts: Prompts) -> str:
    """What is put before the text.

    Raises:
        InvalidRequest: the model has no prompt of that name.
    """
    if request.HasField("prompt_name"):
        return prompt_named(prompts, request.prompt_name)
    return prompt_for(prompts, InputType.NONE, None)


def rank_key(request: pb.RerankStreamRequest) -> tuple[object, ...]:
    """Equal for requests that can be scored together."""
    return request.query, request.truncate, request.truncation_direction


def rank_options(request: pb.RerankRequest | pb.RerankStreamRequest) -> RankOptions:
    """How texts are to be scored.

    Raises:
        InvalidRequest: an enum has a value that this server does not know.
    """
    truncate = truncation(truncate=request.truncate, direction=request.truncation_direction)
    return RankOptions(truncate=truncate, raw_scores=request.raw_scores)


def check_texts(texts: Sequence[str]) -> None:
    """Refuse to rank nothing.

    Raises:
        InvalidRequest: there is nothing.
    """
    if not texts:
        raise InvalidRequest("`texts` cannot be empty")


def check_inputs(inputs: str) -> None:
    """Refuse a text without a character.

    Raises:
        InvalidRequest: it has none.
    """
    if not inputs:
        raise InvalidRequest("`inputs` cannot be empty")


def truncation(*, truncate: bool, direction: pb.TruncationDirection) -> Truncate:
    """Which end is cut.

    Raises:
        InvalidRequest: this server does not know the direction.
    """
    ends = {
        pb.TRUNCATION_DIRECTION_RIGHT: Truncate.END,
        pb.TRUNCATION_DIRECTION_LEFT: Truncate.START,
    }
    if direction not in ends:
        raise InvalidRequest(
            f"`truncation_direction` {direction} is unknown, it may be 0 (right) or 1 (left)"
        )
    return ends[direction] if truncate else Truncate.NONE


def embed_response(row: bytes | memoryview, took: pb.Metadata) -> pb.EmbedResponse:
    """A vector, given as little-endian float32.

    The row is the field's encoding already; parsing it moves it as one block, where a list of
    floats would be boxed and copied one by one.
    """
    blob = b"".join((_EMBEDDINGS, _varint(len(row)), row))
    response = pb.EmbedResponse.FromString(blob)
    response.metadata.CopyFrom(took)
    return response


def metadata(chars: int, tokens: int, began: float, timings: Timings) -> pb.Metadata:
    """What a request took.

    Args:
        chars: of its texts.
        tokens: that were computed.
        began: when it came, on the monotonic clock.
        timings: of its parts.
    """
    return pb.Metadata(
        compute_chars=chars,
        compute_tokens=tokens,
        total_time_ns=_nanoseconds(time.monotonic() - began),
        tokenization_time_ns=_nanoseconds(timings.tokenize),
        queue_time_ns=_nanoseconds(timings.queue),
        inference_time_ns=_nanoseconds(timings.compute),
    )


def headers(device: str, took: pb.Metadata) -> tuple[tuple[str, str], ...]:
    """The same as response headers; times in whole milliseconds."""
    return (
        ("x-compute-type", "cpu" if device == "cpu" else "gpu"),
        ("x-compute-time", _milliseconds(took.total_time_ns)),
        ("x-compute-characters", str(took.compute_chars)),
        ("x-compute-tokens", str(took.compute_tokens)),
        ("x-total-time", _milliseconds(took.total_time_ns)),
        ("x-tokenization-time", _milliseconds(took.tokenization_time_ns)),
        ("x-queue-time", _milliseconds(took.queue_time_ns)),
        ("x-inference-time", _milliseconds(took.inference_time_ns)),
    )


def rerank_response(
    log_odds: Sequence[float],
    texts: Sequence[str] | None,
    took: pb.Metadata,
    *,
    raw: bool,
) -> pb.RerankResponse:
    """Scores by falling log-odds, with their texts if they are asked for."""
    scores = log_odds if raw else scores_of(log_odds)
    ranks = [
        pb.Rank(index=i, score=scores[i], text=None if texts is None else texts[i])
        for i in ranked(log_odds)
    ]
    return pb.RerankResponse(ranks=ranks, metadata=took)


def encode_bytes(tokens: list[Token]) -> bytes:
    """Some tokens of a text, as they stand in its response; parts of one may follow each other."""
    response = pb.EncodeResponse(
        tokens=[
            pb.SimpleToken(id=t.id, text=t.text, special=t.special, start=t.start, stop=t.stop)
            for t in tokens
        ]
    )
    return response.SerializeToString()


def info_response(served: Served, workers: int, *, is_reranker: bool) -> pb.InfoResponse:
    """What runs here."""
    limits = served.limits
    return pb.InfoResponse(
        version=__version__,
        model_id=served.model,
        model_sha=served.revision,
        model_dtype=served.dtype,
        model_type="MODEL_TYPE_RERANKER" if is_reranker else "MODEL_TYPE_EMBEDDING",
        max_concurrent_requests=limits.max_texts,
        max_input_length=served.max_tokens,
        max_batch_tokens=limits.batch_tokens,
        max_client_batch_size=limits.max_texts,
        tokenization_workers=workers,
    )


def _varint(value: int) -> bytes:
    """A length, as protobuf writes it."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _nanoseconds(seconds: float) -> int:
    return round(seconds * _NANOSECONDS)


def _milliseconds(nanoseconds: int) -> str:
    return str(nanoseconds // 1_000_000)
