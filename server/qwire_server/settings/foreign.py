"""Flags of other embedding servers, answered with ours.

From text-embeddings-inference, Infinity, vLLM, SGLang and llama.cpp.
Knows no settings by itself; a test holds every name that stands here to be one.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

OURS: dict[str, str] = {
    "model-path": "--model",
    "model-id": "--model",
    "model-name": "--model",
    "model-name-or-path": "--model",
    "hf-repo": "--model",
    "port": "--http-port",
    "hostname": "--host",
    "pooling-method": "--pooling",
    "override-pooler-config": "--pooling",
    "pooler-config": "--pooling",
    "max-model-len": "--max-tokens",
    "context-length": "--max-tokens",
    "ctx-size": "--max-tokens",
    "max-batch-tokens": "--batch-tokens",
    "max-num-batched-tokens": "--batch-tokens",
    "max-prefill-tokens": "--batch-tokens",
    "chunked-prefill-size": "--batch-tokens",
    "batch-size": "--batch-tokens",
    "ubatch-size": "--batch-tokens",
    "max-batch-requests": "--batch-tokens",
    "max-num-seqs": "--batch-tokens",
    "max-concurrent-requests": "--queue-seconds",
    "max-running-requests": "--queue-seconds",
    "max-queued-requests": "--queue-seconds",
    "max-client-batch-size": "--max-texts",
    "payload-limit": "--http-body-bytes",
    "tokenization-workers": "--tokenizer-threads",
    "tokenizer-worker-num": "--tokenizer-threads",
    "device-id": "--device",
    "base-gpu-id": "--device",
    "gpu-memory-utilization": "--memory-limit",
    "mem-fraction-static": "--memory-limit",
    "json-output": "--log-format",
    "uvicorn-log-level": "--log-level",
    "served-model-name": "--model-alias",
    "cors-allow-origin": "--http-cors-origins",
    "allowed-origins": "--http-cors-origins",
    "permissive-cors": "--http-cors-origins",
    "ssl-certfile": "--tls-cert",
    "ssl-cert-file": "--tls-cert",
    "ssl-keyfile": "--tls-key",
    "ssl-key-file": "--tls-key",
    "ssl-ca-certs": "--tls-client-ca",
}
"""Their flag, ours."""

_ONLY_EMBEDS = "Qwire only embeds"
_OWN_FOLDER = "the model's own folder decides"
_PROMPTS = (
    "the model's own prompts are used, --query-prompt and --document-prompt replace them, and a "
    "request may name another one by `prompt_name`"
)
_ONE_DEVICE = "a server uses one device: start one for each GPU (--device)"
_NOT_NEEDED = "nothing has to be tuned there"
_NO_CODE = "no code of a model's repository is ever run"
_PER_REQUEST = "each request says it"
_NO_CACHE = "an embedding needs no such cache"
_NOT_YET = "this server has no such thing yet"
_METRICS = "metrics are on the HTTP port, at /metrics"
_HUB_CACHE = "set HF_HOME in the environment"

LEAVE_OUT: dict[str, str] = {
    "is-embedding": _ONLY_EMBEDS,
    "embedding": _ONLY_EMBEDS,
    "embeddings": _ONLY_EMBEDS,
    "task": _ONLY_EMBEDS,
    "runner": _ONLY_EMBEDS,
    "convert": _ONLY_EMBEDS,
    "tensor-parallel-size": _ONE_DEVICE,
    "tp": _ONE_DEVICE,
    "tp-size": _ONE_DEVICE,
    "pipeline-parallel-size": _ONE_DEVICE,
    "data-parallel-size": _ONE_DEVICE,
    "dp": _ONE_DEVICE,
    "dp-size": _ONE_DEVICE,
    "trust-remote-code": _NO_CODE,
    "auto-truncate": _PER_REQUEST,
    "embedding-dtype": _PER_REQUEST,
    "default-prompt": _PROMPTS,
    "default-prompt-name": _PROMPTS,
    "dense-path": _OWN_FOLDER,
    "tokenizer": _OWN_FOLDER,
    "tokenizer-path": _OWN_FOLDER,
    "hf-overrides": _OWN_FOLDER,
    "json-model-override-args": _OWN_FOLDER,
    "engine": _NOT_NEEDED,
    "attention-backend": _NOT_NEEDED,
    "enforce-eager": _NOT_NEEDED,
    "bettertransformer": _NOT_NEEDED,
    "lengths-sorted": _NOT_NEEDED,
    "model-warmup": _NOT_NEEDED,
    "disable-radix-cache": _NO_CACHE,
    "enable-prefix-caching": _NO_CACHE,
    "no-enable-prefix-caching": _NO_CACHE,
    "kv-cache-dtype": _NO_CACHE,
    "swap-space": _NO_CACHE,
    "quantization": _NOT_YET,
    "prometheus-port": _METRICS,
    "enable-metrics": _METRICS,
    "otlp-service-name": "set OTEL_SERVICE_NAME in the environment",
    "api-key": _NOT_YET,
    "uds-path": _NOT_YET,
    "hf-token": "set HF_TOKEN in the environment",
    "hf-api-token": "set HF_TOKEN in the environment",
    "huggingface-hub-cache": _HUB_CACHE,
    "download-dir": _HUB_CACHE,
}
"""Their flag, why it is not needed or not there."""

_NOTES = {
    "--http-port": "HTTP, gRPC has --grpc-port",
    "--batch-tokens": "tokens, not texts",
    "--queue-seconds": "device time, not requests",
    "--memory-limit": "bytes, such as 8GiB, not a share",
    "--pooling": "last, mean or cls",
    "--log-format": "json",
    "--device": "cuda:N",
}
_HALF = {"half", "float16", "fp16"}  # the 8B gives NaN in it for some texts
_DTYPES = "take `--dtype bfloat16` or `--dtype float32`"


def answers(argv: Sequence[str]) -> list[str]:
    """What to say about each argument that another server would take; in their order."""
    model = [f"the model needs its flag: --model {word}" for word in argv[:1] if word[:1] != "-"]
    told = [_answer(argument) for argument in argv]
    return [*model, *filter(None, told), *_half(argv)]


def _answer(argument: str) -> str:
    if not argument.startswith("-"):
        return ""
    flag = argument.partition("=")[0]
    name = flag.lstrip("-").replace("_", "-")
    if ours := OURS.get(name):
        note = f" ({_NOTES[ours]})" if ours in _NOTES else ""
        return f"`{flag}` is `{ours}` here{note}"
    if why := LEAVE_OUT.get(name):
        return f"leave `{flag}` out: {why}"
    return ""


def _half(argv: Sequence[str]) -> list[str]:
    words = [word for argument in argv for word in argument.split("=", 1)]
    asked = [value for flag, value in pairwise(words) if flag == "--dtype" and value in _HALF]
    return [f"`--dtype {value}` makes Qwen3-Embedding overflow: {_DTYPES}" for value in asked]
