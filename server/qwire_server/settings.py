"""Every setting of the server, spelled once: flag, `QWIRE_*` variable, TOML key and `--help`.

A flag wins over a variable, a variable over the file, the file over the default. An unknown one
refuses to start.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
from pathlib import Path
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

from qwire_server import foreign
from qwire_server.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic_core import ErrorDetails

_PREFIX = "QWIRE_"
_CLIENT_VARIABLES = {"QWIRE_TARGET", "QWIRE_API_KEY"}
# Kubernetes gives every container variables for each Service of its namespace; for one named qwire
# or qwire-grpc they begin like ours. https://kubernetes.io/docs/concepts/services-networking/service/
_KUBERNETES_NAME = re.compile(
    r"QWIRE_([A-Z0-9_]*_)?(SERVICE_(HOST|PORT)(_.*)?|PORT_\d+_(TCP|UDP).*)$"
)
_KUBERNETES_VALUE = re.compile(r"(tcp|udp)://")
_BYTES = re.compile(r"\d+(\.\d+)?\s*([kmgt]i?b|[kmgt]|b)", re.IGNORECASE)


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Leaves out defaults that only say that there is none."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return (super()._get_help_string(action) or "").replace(" (default: null)", "")


class Settings(BaseSettings):
    """Serve one embedding model over gRPC.

    Each flag is also a variable, QWIRE_<FLAG>, and a key of the TOML file that --config names.

    For example:
      qwire serve                                  Qwen3-Embedding-0.6B from the hub
      qwire serve --model demo --grpc-port 50052   a small English model that needs no hub
      qwire serve --model ./Qwen3-Embedding-4B --batch-tokens 32768
    """

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
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
        description="a hub id, a local folder in the sentence-transformers layout, or `demo`",
    )
    model_source: Literal["hub", "modelscope"] = Field(
        "hub", description="where an id is looked up: the Hugging Face hub, or ModelScope"
    )
    revision: str | None = Field(None, description="branch, tag or commit on the hub")
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
        "auto", description="auto: bfloat16 on GPUs that compute it natively, else float32"
    )
    memory_limit: ByteSize | None = Field(
        None, gt=0, description="most memory of the device, such as 8GiB; on a CPU, of the weights"
    )
    host: str = Field("127.0.0.1", description="address to listen on")
    grpc_port: int = Field(50051, ge=0, le=65535, description="gRPC port; 0 takes a free one")
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
            if not _is_kubernetes(name.upper(), value or "")
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
    _refuse_unknown_variables(os.environ)
    if answers := foreign.answers(argv):
        raise StartError("; ".join(answers))
    try:
        source: CliSettingsSource[Settings] = CliSettingsSource(
            Settings,
            cli_prog_name="qwire serve",
            cli_parse_args=list(argv),
            formatter_class=_HelpFormatter,
        )
        # The underscored parameter is BaseSettings' own; mypy sees the fields only.
        return Settings(config=_config_file(argv), _cli_settings_source=source)  # type: ignore[call-arg]
    except ValidationError as error:
        raise StartError("; ".join(_told(e) for e in error.errors())) from error
    except SettingsError as error:
        message = str(error).removeprefix("error parsing CLI: ")
        raise StartError(f"{message}; `qwire serve --help` lists the flags") from error
    except (OSError, ValueError) as error:  # the TOML file
        raise StartError(f"--config: {error}") from error


def _refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    known = {_PREFIX + name.upper() for name in Settings.model_fields} | _CLIENT_VARIABLES
    for name, value in environment.items():
        if name.startswith(_PREFIX) and name not in known and not _is_kubernetes(name, value):
            raise StartError(f"{name} is not a setting{_nearest(name, known)}")


def _is_kubernetes(name: str, value: str) -> bool:
    return bool(_KUBERNETES_NAME.match(name) or _KUBERNETES_VALUE.match(value))


def _nearest(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f": did you mean {close[0]}?" if close else "; `qwire serve --help` lists them"


def _config_file(argv: Sequence[str]) -> Path | None:
    """The file is needed before the other flags are read."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", type=Path, default=os.environ.get("QWIRE_CONFIG"))
    path = parser.parse_known_args(argv)[0].config
    if path is not None and not Path(path).is_file():
        raise StartError(f"--config {path}: no such file")
    return path and Path(path)


def _told(error: ErrorDetails) -> str:
    name = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        nearest = _nearest(name, set(Settings.model_fields))
        return f"{name} in the --config file is not a setting{nearest}"
    message = error["msg"].removeprefix("Value error, ")
    return f"--{name.replace('_', '-')}: {message} (got {error['input']!r})"
