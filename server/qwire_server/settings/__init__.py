"""Every setting of the server, spelled once: flag, `QWIRE_*` variable, TOML key and `--help`.

A flag wins over a variable, a variable over the file, the file over the default. An unknown one
refuses to start.
"""

from __future__ import annotations

import os
from pathlib import Path  # noqa: TC003  pydantic reads the annotations
from typing import TYPE_CHECKING, Literal, TypeVar

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from qwire_server.errors import StartError
from qwire_server.settings import flags, foreign, variables
from qwire_server.settings.keys import KeySettings
from qwire_server.settings.limits import LimitSettings
from qwire_server.settings.model import ModelSettings
from qwire_server.settings.network import NetworkSettings
from qwire_server.settings.processes import ProcessSettings
from qwire_server.settings.tls import TlsSettings
from qwire_server.settings.work import WorkSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self


# The last base comes first in --help.
class Settings(
    LimitSettings,
    WorkSettings,
    ProcessSettings,
    KeySettings,
    TlsSettings,
    NetworkSettings,
    ModelSettings,
    BaseSettings,
):
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

    drain_seconds: float = Field(
        30, ge=0, description="how long a stopping server lets open calls finish"
    )
    log_format: Literal["text", "json"] = Field("text", description="for people, or for machines")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug logs each request and batch"
    )
    otlp_endpoint: str | None = Field(
        None,
        pattern="^https?://",
        description="OTLP/gRPC collector that traces go to, such as http://localhost:4317; "
        "OTEL_* variables hold",
    )
    config: Path | None = Field(None, description="TOML file with any of these settings")

    @property
    def has_processes(self) -> bool:
        """Whether fronts and devices have processes of their own."""
        return bool(self.fronts or self.devices)

    @property
    def device_names(self) -> list[str]:
        """The devices that have a process of their own, where the server has several."""
        return self.devices.split(",") if self.devices else [self.device]

    @model_validator(mode="after")
    def _names_each_gpu_once(self) -> Self:
        gpus = [name for name in self.device_names if name != "cpu"]
        if self.devices and self.device != "auto":
            raise ValueError("--device and --devices: give one of them")
        if len(set(gpus)) < len(gpus):
            raise ValueError("--devices: name each GPU once")
        return self

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


S = TypeVar("S", bound=Settings)


def load(argv: Sequence[str]) -> Settings:
    """Settings of this process.

    Raises:
        StartError: one is unknown or out of range; the message is one line.
        SystemExit: status 0, after `--help`.
    """
    return load_as(Settings, argv, "serve")


def load_as(kind: type[S], argv: Sequence[str], verb: str) -> S:
    """Settings of another verb that takes them, and some of its own; errors as `load`."""
    variables.refuse_unknown(os.environ, kind.model_fields)
    if answers := foreign.answers(argv):
        raise StartError("; ".join(answers))
    try:
        source: CliSettingsSource[S] = CliSettingsSource(
            kind,
            cli_prog_name=f"qwire {verb}",
            cli_parse_args=flags.without_values(argv, kind.model_fields),
            formatter_class=flags.HelpFormatter,
        )
        # The underscored parameter is BaseSettings' own; mypy sees the fields only.
        return kind(config=flags.config_file(argv), _cli_settings_source=source)  # type: ignore[call-arg]
    except ValidationError as error:
        raise StartError(flags.all_told(error, kind.model_fields)) from error
    except SettingsError as error:
        message = str(error).removeprefix("error parsing CLI: ")
        raise StartError(f"{message}; `qwire {verb} --help` lists the flags") from error
    except (OSError, ValueError) as error:  # the TOML file
        raise StartError(f"--config: {error}") from error
