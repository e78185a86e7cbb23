"""What the adapters tell their users: texts cut, texts unreadable, parameters of other classes.

Pure; warns nobody itself, and knows nothing about the frameworks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qwire.ranking import Ranking
    from qwire.results import Embeddings

# A tenth of unknown tokens is a text with odd names in it; a fifth is another language.
_UNKNOWN_SHARE = 0.2


class QwireWarning(UserWarning):
    """What every warning about embedded texts is; filter it to silence them all."""


class TextsCutWarning(QwireWarning):
    """Texts had more tokens than the model takes: vectors or scores stand for a part of them."""


class UnknownTokensWarning(QwireWarning):
    """The model cannot read the texts: they are in a language it was not made for."""


def cut_warning(result: Embeddings | Ranking) -> TextsCutWarning | None:
    """A warning with the counts, if the model did not read all of each text."""
    cut = result.truncated
    if not cut.any():
        return None
    return TextsCutWarning(
        f"{np.count_nonzero(cut)} of {len(cut)} texts were longer than {result.model} takes and "
        f"were cut: {cut.sum()} tokens left out, {cut.max()} of one text at most. Make the chunks "
        'smaller, or refuse such texts with truncate="none".'
    )


def unknown_warning(result: Embeddings) -> UnknownTokensWarning | None:
    """A warning that names the cure, if more than a fifth of the tokens meant nothing."""
    unknown, tokens = int(result.unknown.sum()), int(result.tokens.sum())
    if unknown <= _UNKNOWN_SHARE * tokens:
        return None
    return UnknownTokensWarning(
        f"{unknown} of {tokens} tokens are unknown to {result.model}: it was not made for the "
        "language of these texts, and their vectors say little. Qwen3 reads more than a hundred "
        "languages: qwire serve --model Qwen/Qwen3-Embedding-0.6B"
    )


def translate(parameters: Mapping[str, Any], *, batch_size: str, document: str) -> dict[str, Any]:
    """Parameters of an adapter from what was given to its constructor.

    `max_retries` becomes `max_attempts`.

    Args:
        parameters: given.
        batch_size: what the adapter calls its batch size.
        document: what the adapter calls the instruction of documents.

    Raises:
        ValueError: some belong to another well-known class; it says what replaces each.
    """
    foreign = [f"{name}: {_REPLACED_BY[name]}" for name in parameters if name in _REPLACED_BY]
    if foreign:
        names = {
            "batch_size": batch_size,
            "document": document,
            "document_name": document.replace("_instruction", "_prompt_name"),
        }
        raise ValueError("; ".join(foreign).format(**names))
    return count_attempts(parameters)


def refuse_two_prompts(**given: str | None) -> None:
    """See that one of two parameters is given at most: each would choose the prompt.

    Raises:
        ValueError: both are.
    """
    if None not in given.values():
        raise ValueError(f"give one of {' and '.join(given)}: each of them chooses the prompt")


def count_attempts(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Other classes' `max_retries` as `max_attempts`, which counts the first try too.

    Raises:
        ValueError: both were given, or `max_retries` is no whole number.
    """
    own = dict(parameters)
    retries = own.pop("max_retries", None)
    if retries is None:
        return own
    if "max_attempts" in own:
        raise ValueError(
            "max_retries and max_attempts are one setting (attempts count the first try too): "
            "give only one of them"
        )
    own["max_attempts"] = _whole("max_retries", retries) + 1
    return own


def _whole(name: str, value: Any) -> int:
    """A whole number, or a string of one, as pydantic reads it."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not number.is_integer():
        raise ValueError(f"{name} must be a whole number, not {value!r}")
    return int(number)


def _for_each(names: str, answer: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), answer)


_REPLACED_BY = {
    **_for_each("encode_kwargs", "use normalize, dimensions, {batch_size} and {document}"),
    **_for_each(
        "query_encode_kwargs prompt_name prompts prompt default_prompt_name",
        "leave it out, the model's own prompts are sent; query_instruction and {document} replace "
        "their task, query_prompt_name and {document_name} choose another prompt of the model",
    ),
    **_for_each("embed_instruction document_prompt", "use {document}"),
    **_for_each("normalize_embeddings", "use normalize"),
    **_for_each("truncate_text", 'use truncate="end" or truncate="none"'),
    **_for_each("max_batch_size", "use {batch_size}"),
    **_for_each(
        "multi_process parallel_process target_devices",
        "leave it out, the server batches for its device; max_concurrency says how many requests "
        "are in flight",
    ),
    **_for_each(
        "model_kwargs config_kwargs tokenizer_kwargs device dtype torch_dtype trust_remote_code "
        "revision max_length pooling backend",
        "the server loads the model: see --device, --dtype, --revision, --max-tokens and --pooling "
        "of qwire serve",
    ),
    **_for_each(
        "cache_folder cache_dir",
        "the server keeps the model: set HF_HOME where qwire serve runs",
    ),
    **_for_each("keep_alive num_ctx num_gpu num_thread", "leave it out, the model stays loaded"),
    **_for_each(
        "check_embedding_ctx_length embedding_ctx_length tiktoken_enabled tiktoken_model_name "
        "allowed_special disallowed_special skip_empty",
        "leave it out, texts go to the server as they are; truncate says what becomes of long ones",
    ),
    **_for_each(
        "openai_api_key huggingfacehub_api_token hf_token auth_token mistral_api_key "
        "nvidia_api_key cohere_api_key",
        "use api_key, or QWIRE_API_KEY, if the server wants one",
    ),
    **_for_each(
        "openai_api_base api_base endpoint endpoint_url azure_endpoint repo_id",
        "use target, the server's gRPC address such as localhost:50051",
    ),
    **_for_each(
        "client async_client http_client http_async_client async_http_client client_kwargs "
        "async_client_kwargs sync_client_kwargs reuse_client openai_proxy",
        "the connection is gRPC: use target, timeout, metadata, tls and ca_cert",
    ),
    **_for_each(
        "organization openai_organization openai_api_type openai_api_version api_version "
        "deployment default_query headers",
        "there is no such service behind it; metadata adds headers to each call",
    ),
    **_for_each("validate_model_on_init", "a wrong model is refused at the first call"),
}
