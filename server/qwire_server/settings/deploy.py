"""Settings of `qwire deploy`: those of a server that mean something in a cluster, and its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import model_validator

from qwire_server.settings import Settings
from qwire_server.settings.keys import KeySettings
from qwire_server.settings.model import ModelSettings
from qwire_server.settings.replicas import ReplicaSettings
from qwire_server.settings.tls import TlsSettings
from qwire_server.settings.work import WorkSettings

if TYPE_CHECKING:
    from typing_extensions import Self

_HTTP = "there is no HTTP in front of a cluster: run `qwire serve` for it"
_PROXY = "Ray has none of it: put a proxy that does in front of the cluster"
_WHY_NOT = {
    **dict.fromkeys((*KeySettings.model_fields, *TlsSettings.model_fields), _PROXY),
    "host": "Ray Serve listens on all addresses of its nodes: the network decides who reaches them",
    "http_port": _HTTP,
    "http_allowed_hosts": _HTTP,
    "http_cors_origins": _HTTP,
    "http_body_bytes": _HTTP,
    "http_token_ids": _HTTP,
}
_TAKEN = {
    *ModelSettings.model_fields,
    *WorkSettings.model_fields,
    *ReplicaSettings.model_fields,
    *("client_streams", "stalled_seconds"),
    *("grpc_port", "drain_seconds", "log_format", "log_level", "config"),
}


class DeploySettings(ReplicaSettings, Settings):
    """Serve one embedding model, one reranker, or both, from replicas in a Ray cluster.

    Each flag is also a variable, QWIRE_<FLAG>, and a key of the TOML file that --config names.

    The cluster is the one that RAY_ADDRESS names (auto: the one that this machine belongs to), or
    one on this machine, for as long as the command runs.

    For example:
      qwire deploy --model demo --replicas 2
      RAY_ADDRESS=auto qwire deploy --replicas 2 --max-replicas 8
    """

    @model_validator(mode="after")
    def _can_be_had(self) -> Self:
        for name in sorted(self.model_fields_set - _TAKEN):
            if (name, getattr(self, name)) == ("http_port", "off"):
                continue
            why = _WHY_NOT.get(name, "it is for a server of its own, `qwire serve`")
            raise ValueError(f"leave --{name.replace('_', '-')} out: {why}")
        if self.device.startswith("cuda:"):
            raise ValueError("leave the number out of --device: Ray gives each replica its GPU")
        if self.max_replicas is not None and self.max_replicas < self.replicas:
            raise ValueError("--max-replicas is less than --replicas")
        return self

    def of_a_replica(self) -> Settings:
        """Those that each replica needs, wherever it runs."""
        kept = self.model_dump(include=set(Settings.model_fields) - {"config"})
        for name in ("model", "reranker"):
            if kept[name] and Path(kept[name]).expanduser().is_dir():
                kept[name] = str(Path(kept[name]).expanduser().resolve())
        return Settings(**kept)
