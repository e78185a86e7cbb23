"""How many replicas of a server run in a Ray cluster, and what each takes of it."""

from __future__ import annotations

from pydantic import BaseModel, Field


class ReplicaSettings(BaseModel):
    """Of `qwire deploy` alone."""

    replicas: int = Field(1, gt=0, description="replicas, or the fewest with --max-replicas")
    max_replicas: int | None = Field(
        None, gt=0, description="most replicas; default: as many as --replicas, always"
    )
    queued_seconds: float = Field(
        1.0,
        gt=0,
        description="device time that may wait for each replica before there are more of them",
    )
    grow_seconds: float = Field(10, ge=0, description="how long more must wait until they come")
    shrink_seconds: float = Field(300, ge=0, description="how long less must wait until they go")
    ray_http_port: int = Field(
        8000, gt=0, le=65535, description="port of Ray Serve's own /-/healthz; no API is there"
    )
    replica_cpus: float = Field(1, ge=0, description="processors of the cluster for each replica")
    replica_gpus: float | None = Field(
        None,
        ge=0,
        description="GPUs of the cluster for each replica; default: 1 where the cluster has any "
        "and --device is not cpu, else 0",
    )
