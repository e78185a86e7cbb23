"""Every setting of the server, spelled once: flag, `QWIRE_*` variable, TOML key and `--help`.

A flag wins over a variable, a variable over the file, the file over the default. An unknown one
refuses to start.
"""

from __future__ import annotations

import os
import re
from pathlib import Path  # noqa: TC003  pydantic reads the annotations
from typing import TYPE_CHECKING, Literal

from pydantic import ByteSize, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from qwire_server import flags, foreign, variables
from qwire_server.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Sequence

_BYTES = re.compile(r"\d+(\.\d+)?\s*([kmgt]i?b|[kmgt]|b)", re.IGNORECASE)


class Settings(BaseSettings):
    """Serve one embedding model, one reranker, or both, over gRPC and HTTP.

    Each flag is also a variable, QWIRE_<FLAG>, and a key of the TOML file that --config names.

    For example:
      qwire serve                                  Qwen3-Embedding-0.6B from the hub
      qwire serve --model demo --grpc-port 50052   a small English model that needs no hub
      qwire serve --model ./Qwen3-Embedding-4B --batch-tokens 32768
      qwire serve --reranker Qwen/Qwen3-Reranker-0.6B   an embedding model and a reranker
    """

    model_config = SettingsConfigDict(
        env_prefix=variables.PREFIX,
        frozen=True,
        extra="forbid",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_exit_on_error=False,
        protected_namespaces=(),
    )

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
    pooling: Literal["auto", "last", "mean", "cls"] = Field(
        "auto", description="how tokens become one vector; auto: as the model's folder says"
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
    host: str = Field("127.0.0.1", description="address to listen on")
    grpc_port: int = Field(50051, ge=0, le=65535, description="gRPC port; 0 takes a free one")
    http_port: int | Literal["off"] = Field(
        8000, description="HTTP port; 0 takes a free one, off opens none"
    )
    http_allowed_hosts: str | None = Field(
        None,
        description="names that the Host header may hold, with commas between them, * for any; "
        "default: this machine's loopback names while --host is one of them, else any",
    )
    http_cors_origins: str | None = Field(
        None,
        description="web origins whose pages may call, such as https://app.example.org, with "
        "commas between them; default: none but the server's own",
    )
    http_body_bytes: int = Field(
        16 * 1024 * 1024, gt=0, description="most bytes of one HTTP request's body"
    )
    http_token_ids: bool = Field(
        False, description="take arrays of token ids of the served model's own tokenizer"
    )
    model_alias: str | None = Field(
        None, description="more names that requests may use, with commas between them"
    )
    batch_tokens: int | None = Field(
        None, gt=0, description="most tokens in one forward; default: 16384 on a GPU, 2048 on a CPU"
    )
    prefix_cache: ByteSize | None = Field(
        None,
        description="most memory for what queries with the same instruction have in common, such "
        "as 64MiB, or off; default: 256MiB on a CPU, off on a GPU",
    )
    request_tokens: int | None = Field(
        None, gt=0, description="most tokens of one request; default: 64 batches"
    )
    queue_seconds: float = Field(
        10,
        gt=0,
        description="most device time accepted and not yet answered; above it, requests are told "
        "when to come back",
    )
    stream_tokens: int | None = Field(
        None, gt=0, description="most tokens of one stream in flight; default: 4 batches"
    )
    launch_ms: float | None = Field(
        None,
        gt=0,
        description="most milliseconds of one batch while questions have come in the last 10 s, "
        "otherwise batches are full; default: 15 on a GPU, 200 on a CPU",
    )
    deterministic: bool = Field(
        default=False,
        description="run each text alone, so that no bit of its vector depends on others; slower",
    )
    bulk_share: float = Field(
        0.2, ge=0, le=0.5, description="device time kept for bulk while interactive work waits"
    )
    client_tokens_per_minute: int | None = Field(
        None, gt=0, description="most tokens a minute for one client; default: no limit"
    )
    client_streams: int | None = Field(
        None, gt=0, description="most open streams of one client; default: no limit"
    )
    max_texts: int = Field(1024, gt=0, description="most texts in one request")
    max_text_bytes: int = Field(256 * 1024, gt=0, description="most bytes of one text (UTF-8)")
    tokenizer_threads: int = Field(2, gt=0, le=64, description="threads that tokenise")
    drain_seconds: float = Field(
        30, ge=0, description="how long a stopping server lets open calls finish"
    )
    log_format: Literal["text", "json"] = Field("text", description="for people, or for machines")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug logs each request and batch"
    )
    config: Path | None = Field(None, description="TOML file with any of these settings")

    @field_validator("http_port", mode="before")
    @classmethod
    def _is_a_port(cls, value: object) -> object:
        if value != "off" and not (str(value).isdecimal() and int(str(value)) <= 65535):
            raise ValueError("neither a port (0 to 65535) nor off")
        return value

    @field_validator("memory_limit", mode="before")
    @classmethod
    def _has_a_unit(cls, value: object) -> object:
        return _with_unit(value)

    @field_validator("prefix_cache", mode="before")
    @classmethod
    def _has_a_unit_or_is_off(cls, value: object) -> object:
        return 0 if value in {"off", "0"} else _with_unit(value)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  no .env file is read
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  nor a secrets folder
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, environment, the file that `config` names; pydantic puts flags before all."""
        assert isinstance(env_settings, EnvSettingsSource)
        env_settings.env_vars = {
            name: value
            for name, value in env_settings.env_vars.items()
            if not variables.is_kubernetes(name.upper(), value or "")
        }
        file = TomlConfigSettingsSource(settings_cls, init_settings().get("config"))
        return init_settings, env_settings, file


def _with_unit(value: object) -> object:
    """`ByteSize` alone would read 50% as 50 bytes, and 0.9 as none."""
    if isinstance(value, str) and not _BYTES.fullmatch(value.strip()):
        raise ValueError("not a number of bytes with a unit, such as 8GiB or 500MB")
    return value


def load(argv: Sequence[str]) -> Settings:
    """Settings of this process.

    Raises:
        StartError: one is unknown or out of range; the message is one line.
        SystemExit: status 0, after `--help`.
    """
    variables.refuse_unknown(os.environ, Settings.model_fields)
    if answers := foreign.answers(argv):
        raise StartError("; ".join(answers))
    try:
        source: CliSettingsSource[Settings] = CliSettingsSource(
            Settings,
            cli_prog_name="qwire serve",
            cli_parse_args=list(argv),
            formatter_class=flags.HelpFormatter,
        )
        # The underscored parameter is BaseSettings' own; mypy sees the fields only.
        return Settings(config=flags.config_file(argv), _cli_settings_source=source)  # type: ignore[call-arg]
    except ValidationError as error:
        raise StartError(
            "; ".join(flags.told(e, Settings.model_fields) for e in error.errors())
        ) from error
    except SettingsError as error:
        message = str(error).removeprefix("error parsing CLI: ")
        raise StartError(f"{message}; `qwire serve --help` lists the flags") from error
    except (OSError, ValueError) as error:  # the TOML file
        raise StartError(f"--config: {error}") from error
