"""deploy/ says what the server understands, and what its parts say of each other agrees."""

from __future__ import annotations

import asyncio
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from qwire_server.settings import Settings
from support import web_client
from support.machine_speed import hang_limit
from support.serving import fake_serving

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "docker/Dockerfile").read_text("utf-8")
BASE = DEPLOY / "kubernetes/base"
# Flags of docker, pip, apt and the like, in the same files.
FOREIGN = {"target", "build-arg", "gpus", "constraint", "no-cache-dir", "from"} | {
    *("uid", "user-group", "no-create-home", "shell", "directory", "owner", "group"),
    *("interval", "timeout", "start-period", "retries", "yes", "no-install-recommends"),
    *("build", "file", "scopes", "from-file"),
}


def documents(path: Path) -> list[dict]:
    return list(yaml.safe_load_all(path.read_text("utf-8")))


def pod() -> dict:
    (deployment,) = documents(BASE / "deployment.yaml")
    return deployment["spec"]["template"]["spec"]


def container() -> dict:
    (only,) = pod()["containers"]
    return only


def seconds_of(flag: str, arguments: list[str]) -> float:
    (value,) = [word.partition("=")[2] for word in arguments if word.startswith(f"{flag}=")]
    return float(value)


def test_every_flag_and_variable_of_deploy_is_a_setting():
    """Comments included: people copy from them."""
    files = [path for path in DEPLOY.rglob("*") if path.is_file() and path.suffix != ".json"]
    text = "\n".join(path.read_text("utf-8") for path in files)
    flags = set(re.findall(r"(?<![\w-])--([a-z][a-z-]+)", text)) - FOREIGN
    variables = set(re.findall(r"QWIRE_[A-Z_]+[A-Z]", text)) - {"QWIRE_BUILD"}
    named = {flag.replace("-", "_") for flag in flags}
    named |= {name.removeprefix("QWIRE_").lower() for name in variables}
    assert named - set(Settings.model_fields) == set()
    assert {"drain_seconds", "model", "host", "http_port"} <= named


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*.yaml")), ids=lambda path: path.name)
def test_every_yaml_file_can_be_read(path: Path):
    assert all(documents(path))


def test_every_link_of_a_page_leads_somewhere():
    for page in (ROOT / "docs").glob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), target


# -- Docker


def test_the_image_can_be_built_of_what_it_copies(tmp_path: Path):
    """The package, at least, that pip builds first; the rest is downloads."""
    copied = re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
    ignore = (DEPLOY / "docker/Dockerfile.dockerignore").read_text().split()
    for line in copied:
        *sources, target = line.split()
        for source in sources:
            assert f"!{source}" in ignore, "the build would not find it"
            if not source.startswith("deploy/"):
                copy(ROOT / source, tmp_path / target / (source if target == "./" else ""))
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        timeout=hang_limit(60),
    )


def copy(source: Path, target: Path) -> None:
    if source.is_dir():
        leave = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, target, ignore=leave, dirs_exist_ok=True)
    else:
        shutil.copy(source, target)


def test_the_image_runs_as_the_user_that_kubernetes_names():
    (user, group) = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)[-1]
    context = pod()["securityContext"]
    assert (str(context["runAsUser"]), str(context["runAsGroup"])) == (user, group)
    assert f"useradd --uid {user} " in DOCKERFILE
    assert int(user) > 0


def test_no_image_holds_a_secret():
    assert not re.search(r"(?i)(arg|env).*(token|secret|password|api_key)", DOCKERFILE)


async def test_the_health_check_says_ready_and_why_not(monkeypatch, capsys):
    check = runpy.run_path(str(DEPLOY / "docker/healthy.py"))["main"]
    async with fake_serving({"http_port": 0}) as running:
        monkeypatch.setenv("QWIRE_HTTP_PORT", str(running.server.http_port))
        assert await asyncio.to_thread(check) == 0
        running.server._gate.close("it drains")
        assert await asyncio.to_thread(check) == 1
        assert "it drains" in capsys.readouterr().out
    assert await asyncio.to_thread(check) == 1


# -- Compose and Kubernetes


def test_compose_waits_for_the_drain():
    (compose,) = documents(DEPLOY / "compose.yaml")
    service = compose["services"]["qwire"]
    grace = float(service["stop_grace_period"].removesuffix("s"))
    assert grace > seconds_of("--drain-seconds", service["command"])
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert " AS cpu\n" in DOCKERFILE
    assert " AS cuda\n" in DOCKERFILE


def test_kubernetes_waits_for_the_drain():
    (_, pause) = container()["lifecycle"]["preStop"]["exec"]["command"]
    drain = seconds_of("--drain-seconds", container()["args"])
    assert pod()["terminationGracePeriodSeconds"] > float(pause) + drain


def test_pods_are_asked_over_grpc_and_may_do_little():
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    assert container()["startupProbe"]["grpc"]["port"] == ports["grpc"]
    assert container()["readinessProbe"]["grpc"]["port"] == ports["grpc"]
    assert pod()["enableServiceLinks"] is False
    assert pod()["automountServiceAccountToken"] is False
    assert pod()["securityContext"]["runAsNonRoot"] is True
    context = container()["securityContext"]
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}


def test_the_service_for_grpc_is_headless_and_finds_the_pods():
    headless, _http = documents(BASE / "service.yaml")
    (deployment,) = documents(BASE / "deployment.yaml")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert headless["spec"]["clusterIP"] == "None"
    assert headless["spec"]["selector"].items() <= labels.items()


async def test_pods_are_counted_by_a_metric_that_the_server_has():
    (hpa,) = documents(BASE / "hpa.yaml")
    (metric,) = hpa["spec"]["metrics"]
    async with fake_serving({"http_port": 0}) as running, web_client.async_client() as client:
        url = f"http://127.0.0.1:{running.server.http_port}/metrics"
        exposed = (await client.get(url)).text
    assert f"\n{metric['pods']['metric']['name']}{{" in exposed


def test_kustomization_names_every_manifest():
    (kustomization,) = documents(BASE / "kustomization.yaml")
    files = {path.name for path in BASE.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(kustomization["resources"]) == files


def test_tls_takes_the_place_of_the_flag_that_goes_without():
    (kustomization,) = documents(DEPLOY / "kubernetes/tls/kustomization.yaml")
    (test, replace, *_) = yaml.safe_load(kustomization["patches"][0]["patch"])
    index = int(test["path"].rpartition("/")[2])
    assert container()["args"][index] == test["value"] == "--insecure-listen"
    assert replace["path"] == test["path"]
    assert replace["value"].startswith("--tls-cert=")


# -- Envoy


def test_envoy_limits_connections_checks_health_and_does_not_try_again():
    """Its schema is `make check-deploy`'s."""
    (envoy,) = documents(DEPLOY / "envoy/envoy.yaml")
    resources = envoy["static_resources"]
    (chain,) = resources["listeners"][0]["filter_chains"]
    names = [each["name"] for each in chain["filters"]]
    assert names[0] == "envoy.filters.network.connection_limit"
    assert "tls_certificates" in str(chain["transport_socket"])
    clusters = {each["name"]: each for each in resources["clusters"]}
    assert "grpc_health_check" in clusters["qwire_grpc"]["health_checks"][0]
    for cluster in clusters.values():
        assert cluster["outlier_detection"]
        (threshold,) = cluster["circuit_breakers"]["thresholds"]
        assert threshold["max_retries"] == 0


# -- Limits


def test_compose_bounds_memory_and_threads():
    (compose,) = documents(DEPLOY / "compose.yaml")
    service = compose["services"]["qwire"]
    assert re.fullmatch(r"\d+g", service["mem_limit"])
    assert 100 <= service["pids_limit"] <= 4096


def test_the_network_policy_lets_callers_in_by_the_ports_of_the_pods_and_little_out():
    (policy,) = documents(BASE / "networkpolicy.yaml")
    (deployment,) = documents(BASE / "deployment.yaml")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    spec = policy["spec"]
    assert spec["podSelector"]["matchLabels"].items() <= labels.items()
    assert set(spec["policyTypes"]) == {"Ingress", "Egress"}
    (rule,) = spec["ingress"]
    assert {each["port"] for each in rule["ports"]} == {p["name"] for p in container()["ports"]}
    assert rule["from"]
    assert {each["port"] for out in spec["egress"] for each in out["ports"]} == {53, 443}


def test_the_base_image_is_pinned_to_a_digest_once_and_again(tmp_path: Path):
    pin = runpy.run_path(str(ROOT / "scripts/pin_images.py"))
    once = pin["pinned"](DOCKERFILE, f"sha256:{'a' * 64}")
    again = pin["pinned"](once, f"sha256:{'b' * 64}")
    assert re.search(r"^ARG PYTHON=[\w.-]+@sha256:a{64}$", once, re.MULTILINE)
    assert again == once.replace("a" * 64, "b" * 64)


def test_where_no_registry_is_reached_nothing_is_pinned_and_that_is_said(tmp_path: Path):
    docker = tmp_path / "docker"
    for script in (None, "echo no such host >&2; exit 1"):
        if script:
            docker.write_text(f"#!/bin/sh\n{script}\n")
            docker.chmod(0o755)
        done = subprocess.run(
            [sys.executable, str(ROOT / "scripts/pin_images.py")],
            env={"PATH": str(tmp_path) + ":/bin" * bool(script)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 1
        assert "nothing is pinned" in done.stderr
    assert (DEPLOY / "docker/Dockerfile").read_text("utf-8") == DOCKERFILE
