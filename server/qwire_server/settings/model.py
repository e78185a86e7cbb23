"""Which models, and how they run."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ByteSize, Field, field_validator

from qwire_server.settings.prompt_text import prompt_text
from qwire_server.settings.sizes import with_unit


class ModelSettings(BaseModel):
    """Of the models and their device."""

    model: str = Field(
        "Qwen/Qwen3-Embedding-0.6B",
        description="a hub id, a local folder in the sentence-transformers layout, or `demo`; "
        "`none` for a reranker alone",
    )
    model_source: Literal["hub", "modelscope"] = Field(
        "hub", description="where an id is looked up: the Hugging Face hub, or ModelScope"
    )
    revision: str | None = Field(None, description="branch, tag or commit on the hub")
    reranker: str | None = Field(
        None,
        description="a hub id or a local folder: Qwen3-Reranker, or a cross-encoder in the "
        "sentence-transformers layout; default: no reranking",
    )
    reranker_revision: str | None = Field(
        None, description="branch, tag or commit of the reranker on the hub"
    )
    reranker_max_tokens: int | None = Field(
        None,
        gt=2,
        description="most tokens of prompt, query and document together; default: 8192, or what "
        "the reranker takes",
    )
    model_alias: str | None = Field(
        None, description="more names that requests may use, with commas between them"
    )
    pooling: Literal["auto", "last", "mean", "cls"] = Field(
        "auto", description="how tokens become one vector; auto: as the model's folder says"
    )
    query_prompt: str | None = Field(
        None,
        description="text before each query, instead of the prompt in the model's folder; \\n is a "
        "newline: 'Instruct: Given a question, retrieve passages that answer it\\nQuery:'",
    )
    document_prompt: str | None = Field(
        None, description="text before each document, instead of the prompt in the model's folder"
    )
    max_tokens: int | None = Field(
        None, gt=2, description="most tokens of a text; default: what the model takes"
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="auto, cpu, cuda or cuda:N; auto: the GPU if there is one",
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 where GPU or processor have it, else float32"
    )
    compile: Literal["auto", "on", "off"] = Field("auto", description="auto: on a GPU, at start")
    cuda_graphs: Literal["auto", "off"] = Field("auto", description="auto: where they are faster")
    memory_limit: ByteSize | None = Field(
        None, gt=0, description="most memory of the device, such as 8GiB; on a CPU, of the weights"
    )
    prefix_cache: ByteSize | None = Field(
        None,
        description="most memory for what queries with the same instruction have in common, such "
        "as 64MiB, or off; default: 256MiB on a CPU, off on a GPU",
    )
    deterministic: bool = Field(
        default=False,
        description="run each text alone, so that no bit of its vector depends on others; slower",
    )

    @field_validator("query_prompt", "document_prompt")
    @classmethod
    def _is_a_prompt(cls, value: str | None) -> str | None:
        return None if value is None else prompt_text(value)

    @field_validator("memory_limit", mode="before")
    @classmethod
    def _has_a_unit(cls, value: object) -> object:
        return with_unit(value)

    @field_validator("prefix_cache", mode="before")
    @classmethod
    def _has_a_unit_or_is_off(cls, value: object) -> object:
        return 0 if value in {"off", "0"} else with_unit(value)
