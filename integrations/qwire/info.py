"""What a server says about itself, as plain frozen values."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  # for typing.get_type_hints
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qwire.v1 import embedding_pb2 as pb


@dataclass(frozen=True)
class Dimensions:
    """Length of the model's vectors, and the smallest that `dimensions` may ask for."""

    native: int
    smallest: int


@dataclass(frozen=True)
class Prompts:
    """Prompts of the model; `template` has `{instruction}` where the task goes.

    Attributes:
        named: all prompts by their names, which `prompt_name` may give.
        default_name: name of the prompt for texts without an `input_type`; empty if there is none.
    """

    query: str
    document: str
    template: str
    named: Mapping[str, str] = field(default_factory=dict, hash=False)
    default_name: str = ""


@dataclass(frozen=True)
class Limits:
    """What the server takes; 0 where it does not say."""

    texts_per_request: int
    bytes_per_text: int
    bytes_per_message: int
    tokens_per_batch: int
    tokens_per_request: int
    tokens_per_stream: int


@dataclass(frozen=True)
class SelfCheck:
    """What a server found before it took work, comparing itself with transformers.

    `lowest_cosine` of all `texts`; of a reranker, that of all scores as one vector.
    """

    lowest_cosine: float
    texts: int
    dtype: str


@dataclass(frozen=True)
class RerankerInfo:
    """The reranker of a server.

    `max_tokens` are of query and document together, prompt included; `instruction` is the model's
    own, empty where it takes none; `fingerprint` changes whenever the scores may; `self_check` is
    None from older servers.
    """

    model: str
    revision: str
    fingerprint: str
    max_tokens: int
    instruction: str
    device: str
    dtype: str
    self_check: SelfCheck | None = None
    unknown_config_keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Description:
    """Model, prompts, limits and the `fingerprint` that changes whenever the vectors may.

    `languages` are BCP 47 tags, "mul" for many; `pooling` is last, mean or cls. `model` is empty
    where nothing but a reranker is served; `reranker` is None where there is none. `self_check` is
    None from older servers. `unknown_config_keys` are keys of the model's config.json that the
    server does not know, and ignores.
    """

    model: str
    revision: str
    fingerprint: str
    server_version: str
    languages: tuple[str, ...]
    dimensions: Dimensions
    max_tokens: int
    pooling: str
    prompts: Prompts
    device: str
    dtype: str
    limits: Limits
    reranker: RerankerInfo | None = None
    self_check: SelfCheck | None = None
    unknown_config_keys: tuple[str, ...] = ()


def read_description(reply: pb.DescribeResponse) -> Description:
    """Copy a DescribeResponse into Python types."""
    return Description(
        model=reply.model,
        revision=reply.revision,
        fingerprint=reply.fingerprint,
        server_version=reply.server_version,
        languages=tuple(reply.languages),
        dimensions=Dimensions(reply.dimensions.native, reply.dimensions.smallest),
        max_tokens=reply.max_tokens,
        pooling=reply.pooling,
        prompts=Prompts(
            reply.prompts.query,
            reply.prompts.document,
            reply.prompts.template,
            dict(reply.prompts.named),
            reply.prompts.default_name,
        ),
        device=reply.device,
        dtype=reply.dtype,
        limits=Limits(
            texts_per_request=reply.limits.texts_per_request,
            bytes_per_text=reply.limits.bytes_per_text,
            bytes_per_message=reply.limits.bytes_per_message,
            tokens_per_batch=reply.limits.tokens_per_batch,
            tokens_per_request=reply.limits.tokens_per_request,
            tokens_per_stream=reply.limits.tokens_per_stream,
        ),
        reranker=_reranker(reply.reranker) if reply.HasField("reranker") else None,
        self_check=_self_check(reply),
        unknown_config_keys=tuple(reply.unknown_config_keys),
    )


def _reranker(info: pb.RerankerInfo) -> RerankerInfo:
    return RerankerInfo(
        model=info.model,
        revision=info.revision,
        fingerprint=info.fingerprint,
        max_tokens=info.max_tokens,
        instruction=info.instruction,
        device=info.device,
        dtype=info.dtype,
        self_check=_self_check(info),
        unknown_config_keys=tuple(info.unknown_config_keys),
    )


def _self_check(told: pb.DescribeResponse | pb.RerankerInfo) -> SelfCheck | None:
    if not told.HasField("self_check"):
        return None
    found = told.self_check
    return SelfCheck(found.lowest_cosine, found.texts, found.dtype)
