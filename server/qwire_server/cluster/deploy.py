"""Puts the application on a Ray cluster: one that runs, or one of this machine for as long."""

from __future__ import annotations

import logging
import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from qwire_server.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qwire_server.load import LoadedModel
    from qwire_server.load_reranker import LoadedReranker
    from qwire_server.settings.deploy import DeploySettings

_LOG = logging.getLogger("qwire.server")
_OBJECT_STORE_BYTES = 128 * 2**20  # nothing of ours goes through Ray's shared memory
# Ray reads these when it is imported; a cluster that runs has those of its `ray start`.
_VARIABLES = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_USAGE_STATS_ENABLED": "0"}
# How long a replica that stops can still be reached: on one machine its proxy knows at once.
_LOCAL_VARIABLES = {
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "3",
    # A proxy that starts on a busy machine is not a dead one.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "30",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "30",
}


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
    is_local = settings.ray_address is None
    for name, value in (_VARIABLES | (_LOCAL_VARIABLES if is_local else {})).items():
        os.environ.setdefault(name, value)
    stopping = threading.Event()
    if is_local:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    with _connected(settings):
        _run(settings, load, load_ranker)
        if is_local:
            stopping.wait()
            _LOG.info("stopping: replicas answer what they have accepted")
            _shut_down()


@contextmanager
def _connected(settings: DeploySettings) -> Iterator[None]:
    import ray  # noqa: PLC0415  it reads the environment

    try:
        if settings.ray_address:
            ray.init(address=settings.ray_address, log_to_driver=False)
        else:
            ray.init(
                address="local",
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES,
            )
    except ConnectionError as error:
        raise StartError(
            f"no Ray cluster at --ray-address {settings.ray_address}: start one (ray start "
            "--head), or leave the flag out"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _run(
    settings: DeploySettings,
    load: Callable[..., LoadedModel] | None,
    load_ranker: Callable[..., LoadedReranker] | None,
) -> None:
    from ray import serve  # noqa: PLC0415  as above

    from qwire_server.cluster import app  # noqa: PLC0415

    serve.start(
        proxy_location="EveryNode",
        http_options={"port": settings.ray_http_port},
        grpc_options={
            "port": settings.grpc_port,
            "grpc_servicer_functions": [app.ADD_SERVICES],
        },
        logging_config=app.LOGGING,
    )
    try:
        # A prefix, because an application without one is hidden from gRPC, too.
        serve.run(
            app.application(settings, load, load_ranker), name=app.NAME, route_prefix="/qwire"
        )
    except RuntimeError as error:
        raise StartError(f"the replicas do not start: {error}") from error
    _LOG.info(
        "qwire ready: %d replicas on grpc port %d of every node",
        settings.replicas,
        settings.grpc_port,
    )


def _shut_down() -> None:
    from ray import serve  # noqa: PLC0415  as above

    serve.shutdown()
