"""Turns the words of the API into `qwire.v1.EmbedOptions`. Knows nothing about texts."""

from __future__ import annotations

import math
import operator
from typing import TypeVar

from qwire.errors import InvalidDimensionsError, InvalidRequestError
from qwire.v1 import embedding_pb2 as pb
from qwire.v1 import rerank_pb2 as rank_pb

_Value = TypeVar("_Value", bound=int)

_INPUT_TYPES = {
    "document": pb.INPUT_TYPE_DOCUMENT,
    "query": pb.INPUT_TYPE_QUERY,
    "none": pb.INPUT_TYPE_NONE,
}
_TRUNCATES = {
    "end": pb.TRUNCATE_END,
    "start": pb.TRUNCATE_START,
    "none": pb.TRUNCATE_NONE,
}
_ENCODINGS = {
    "float32": pb.ENCODING_FLOAT32,
    "float16": pb.ENCODING_FLOAT16,
    "int8": pb.ENCODING_INT8,
    "binary": pb.ENCODING_BINARY,
}
_REQUEST_CLASSES = {
    "interactive": pb.REQUEST_CLASS_INTERACTIVE,
    "bulk": pb.REQUEST_CLASS_BULK,
}


def embed_options(
    *,
    model: str | None = None,
    expected_fingerprint: str | None = None,
    input_type: str | None = None,
    instruction: str | None = None,
    dimensions: int | None = None,
    normalize: bool = True,
    truncate: str = "end",
    encoding: str = "float32",
    request_class: str | None = None,
    prompt_name: str | None = None,
) -> pb.EmbedOptions:
    """Check the words of a call, in any case, and write them down for the wire.

    Raises:
        InvalidRequestError: a word that is not one of its choices, or not a string; or
            `prompt_name` beside a word that chooses the prompt too.
        InvalidDimensionsError: `dimensions` is no positive integer.
    """
    options = pb.EmbedOptions(
        normalize=bool(normalize),
        truncate=_choose("truncate", truncate, _TRUNCATES),
        encoding=_choose("encoding", encoding, _ENCODINGS),
    )
    if model is not None:
        options.model = check_string("model", model)
    if expected_fingerprint is not None:
        options.expected_fingerprint = check_string("expected_fingerprint", expected_fingerprint)
    if instruction is not None:
        options.instruction = check_string("instruction", instruction)
    if input_type is not None:
        options.input_type = _choose("input_type", input_type, _INPUT_TYPES)
    if prompt_name is not None:
        if input_type is not None or instruction is not None:
            raise InvalidRequestError(
                "prompt_name chooses the prompt alone: leave input_type and instruction out, or "
                "leave prompt_name out"
            )
        options.prompt_name = check_string("prompt_name", prompt_name)
    if dimensions is not None:
        options.dimensions = _positive("dimensions", dimensions, InvalidDimensionsError)
    if request_class is not None:
        options.request_class = _choose("request_class", request_class, _REQUEST_CLASSES)
    return options


def rerank_options(
    *,
    model: str | None = None,
    expected_fingerprint: str | None = None,
    instruction: str | None = None,
    truncate: str = "end",
    raw_scores: bool = False,
    request_class: str | None = None,
) -> rank_pb.RerankOptions:
    """The same for reranking.

    Raises:
        InvalidRequestError: a word that is not one of its choices, or not a string.
    """
    options = rank_pb.RerankOptions(
        truncate=_choose("truncate", truncate, _TRUNCATES), raw_scores=bool(raw_scores)
    )
    if model is not None:
        options.model = check_string("model", model)
    if expected_fingerprint is not None:
        options.expected_fingerprint = check_string("expected_fingerprint", expected_fingerprint)
    if instruction is not None:
        options.instruction = check_string("instruction", instruction)
    if request_class is not None:
        options.request_class = _choose("request_class", request_class, _REQUEST_CLASSES)
    return options


def check_timeout(timeout: float, name: str = "timeout") -> float:
    """Seconds, finite and more than zero: a call without a deadline can hang for ever.

    Raises:
        InvalidRequestError: it is not.
    """
    if isinstance(timeout, (int, float)) and math.isfinite(timeout) and timeout > 0:
        return float(timeout)
    raise InvalidRequestError(f"{name} must be a number of seconds above 0, not {timeout!r}")


def check_count(name: str, value: int) -> int:
    """A whole number of at least 1.

    Raises:
        InvalidRequestError: it is not.
    """
    return _positive(name, value, InvalidRequestError)


def _choose(name: str, word: str, choices: dict[str, _Value]) -> _Value:
    value = choices.get(word.lower()) if isinstance(word, str) else None
    if value is None:
        listed = ", ".join(repr(choice) for choice in choices)
        raise InvalidRequestError(f"{name} must be one of {listed}, not {word!r}")
    return value


def check_string(name: str, value: str) -> str:
    """Text that can be sent.

    Raises:
        InvalidRequestError: not a string, or a lone surrogate.
    """
    if not isinstance(value, str):
        raise InvalidRequestError(f"{name} must be a string, not {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidRequestError(f"{name} holds a lone surrogate: it is not text") from None
    return value


def _positive(name: str, value: int, error: type[InvalidRequestError]) -> int:
    try:
        number = operator.index(value)  # numpy integers too
    except TypeError:
        number = 0
    if isinstance(value, bool) or not 1 <= number < 2**32:
        raise error(f"{name} must be a whole number of at least 1, not {value!r}")
    return number
