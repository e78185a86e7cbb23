"""From settings to a Ray Serve application; `build` is the import path of a Serve config file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ray
from pydantic import ValidationError
from ray import serve

from qwire_server.cluster.ingress import Ingress
from qwire_server.cluster.scaling import ByQueuedSeconds
from qwire_server.errors import StartError
from qwire_server.settings import flags
from qwire_server.settings.deploy import DeploySettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ray.serve import Application

    from qwire_server.load import LoadedModel
    from qwire_server.load_reranker import LoadedReranker

NAME = "qwire"
ADD_SERVICES = "qwire_server.cluster.methods.add_services_to_server"
# Our queue decides what is accepted, so Ray's bound is beyond what one replica ever holds.
_MOST_CALLS = 100_000
# We write our own lines; Ray's would be one for each call.
LOGGING = {"log_level": "WARNING", "enable_access_log": False}
_REPLICA_VARIABLES = {
    # In Ray's own event loop: without the way to another thread, and with its flow control.
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
}


def build(args: Mapping[str, Any]) -> Application:
    """The application of a config file.

    Args:
        args: settings of `qwire deploy`, by their names in a TOML file.

    Raises:
        StartError: one is unknown or out of range.
    """
    try:
        return application(DeploySettings(**args))
    except ValidationError as error:
        raise StartError(flags.all_told(error, DeploySettings.model_fields)) from error


def application(
    settings: DeploySettings,
    load: Callable[..., LoadedModel] | None = None,
    load_ranker: Callable[..., LoadedReranker] | None = None,
) -> Application:
    """The application of these settings; Ray must be connected.

    Args:
        settings: of the deployment.
        load: where each replica has its embedding model from; see `Replica`.
        load_ranker: the reranker, likewise.
    """
    deployment = serve.deployment(Ingress).options(name=NAME, **_options(settings))
    return deployment.bind(
        settings.of_a_replica(), settings.drain_seconds * 2 / 3, load, load_ranker
    )


def _options(settings: DeploySettings) -> dict[str, Any]:
    return {
        **_scale(settings),
        "max_ongoing_requests": _MOST_CALLS,
        "graceful_shutdown_timeout_s": settings.drain_seconds,
        "graceful_shutdown_wait_loop_s": 0.5,
        "health_check_period_s": 5,
        "logging_config": LOGGING,
        "ray_actor_options": {
            "num_cpus": settings.replica_cpus,
            "num_gpus": _gpus(settings),
            "runtime_env": {"env_vars": _REPLICA_VARIABLES},
        },
    }


def _scale(settings: DeploySettings) -> dict[str, Any]:
    most = settings.max_replicas
    if most is None or most == settings.replicas:
        return {"num_replicas": settings.replicas}
    policy = {
        "policy_function": f"{ByQueuedSeconds.__module__}:{ByQueuedSeconds.__name__}",
        "policy_kwargs": {"target": settings.queued_seconds},
    }
    return {
        "autoscaling_config": {
            "min_replicas": settings.replicas,
            "max_replicas": most,
            "upscale_delay_s": settings.grow_seconds,
            "downscale_delay_s": settings.shrink_seconds,
            "metrics_interval_s": 1,
            "look_back_period_s": 5,
            "policy": policy,
        }
    }


def _gpus(settings: DeploySettings) -> float:
    if settings.replica_gpus is not None:
        return settings.replica_gpus
    has_gpus = ray.cluster_resources().get("GPU", 0) > 0
    return 1 if has_gpus and settings.device != "cpu" else 0
