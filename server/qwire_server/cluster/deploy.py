"""Puts the application on a Ray cluster: one that runs, or one of this machine for as long."""

from __future__ import annotations

import logging
import os
import re
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import ray

from qwire._version import __version__
from qwire_server.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qwire_server.load import LoadedModel
    from qwire_server.load_reranker import LoadedReranker
    from qwire_server.settings.deploy import DeploySettings

_LOG = logging.getLogger("qwire.server")
_STORE_BYTES = 128 * 2**20  # nothing of ours goes through Ray's shared memory
# Logs of replicas are files of Ray's; what the caller must know is said by us.
_QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
# A cluster that runs has its own, from its `ray start`.
_VARIABLES = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_USAGE_STATS_ENABLED": "0"}
_LOCAL_VARIABLES = {
    # How long a replica that stops can be reached: on one machine its proxy knows at once.
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "3",
    # A proxy that starts on a busy machine is not a dead one.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "30",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "30",
}
_REASON = re.compile(r"qwire_server\.errors\.\w+: (.*)")


def deploy(
    settings: DeploySettings,
    load: Callable[..., LoadedModel] | None = None,
    load_ranker: Callable[..., LoadedReranker] | None = None,
) -> None:
    """Deploy, and on a cluster of our own stay until SIGTERM or SIGINT.

    Args:
        settings: of the deployment.
        load: where each replica has its embedding model from; see `Replica`.
        load_ranker: the reranker, likewise.

    Raises:
        StartError: there is no such cluster, or the replicas do not start.
    """
    is_local = not os.environ.get("RAY_ADDRESS")
    for name, value in (_VARIABLES | (_LOCAL_VARIABLES if is_local else {})).items():
        os.environ.setdefault(name, value)
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    with _connected(is_local=is_local), _until_told(is_local=is_local):
        _run(settings, load, load_ranker)


@contextmanager
def _connected(*, is_local: bool) -> Iterator[None]:
    try:
        if is_local:
            ray.init("local", include_dashboard=False, object_store_memory=_STORE_BYTES, **_QUIET)
            # What another command needs: "auto" would be any of the machine's clusters.
            address, auth = ray.get_runtime_context().gcs_address, os.environ.get("RAY_AUTH_MODE")
            _LOG.info("Ray of this machine: RAY_ADDRESS=%s RAY_AUTH_MODE=%s", address, auth)
        else:
            ray.init(**_QUIET)
    except Exception as error:  # Ray raises that itself, of a node that takes more than 30 s
        raise StartError(f"no Ray cluster: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _until_told(*, is_local: bool) -> Iterator[None]:
    """Wait at the end for a signal, and let the replicas answer what they have accepted."""
    if not is_local:
        yield
        return
    from ray import serve  # noqa: PLC0415  it reads the environment

    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        yield
        stopping.wait()
        _LOG.info("stopping: the replicas answer what they have accepted")
    finally:
        serve.shutdown()


def _run(
    settings: DeploySettings,
    load: Callable[..., LoadedModel] | None,
    load_ranker: Callable[..., LoadedReranker] | None,
) -> None:
    from ray import serve  # noqa: PLC0415  as above

    from qwire_server.cluster import app  # noqa: PLC0415

    try:
        serve.start(
            proxy_location="EveryNode",
            http_options={"port": settings.ray_http_port},
            grpc_options={
                "port": settings.grpc_port,
                "grpc_servicer_functions": [app.ADD_SERVICES],
            },
            logging_config=app.LOGGING,
        )
        application = app.application(settings, load, load_ranker)
        # A prefix, because an application without one is hidden from gRPC, too.
        serve.run(application, name=app.NAME, route_prefix=f"/{app.NAME}")
    except (ray.exceptions.RayError, RuntimeError, TimeoutError) as error:
        raise StartError(f"the replicas do not start: {_reason(error)}") from error
    most = settings.max_replicas
    many = f"{settings.replicas} to {most}" if most else f"{settings.replicas}"
    _LOG.info(
        "qwire %s ready: %s replicas on grpc %s:%d, and on this port of every node",
        __version__,
        many,
        "127.0.0.1",
        settings.grpc_port,
    )


def _reason(error: Exception) -> str:
    """Our own words, if there are any, else Ray's."""
    from ray import serve  # noqa: PLC0415  as above

    states = [app for app in serve.status().applications.values() if app.deployments]
    told = " ".join(state.message for app in states for state in app.deployments.values())
    found = _REASON.findall(told)
    return found[-1] if found else str(error)
