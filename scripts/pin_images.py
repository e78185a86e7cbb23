"""Pins the base images of deploy/ to their digests: `make pin-images`.

Asks each image's registry, by docker; where none is reached, nothing is changed and that is said.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

DOCKERFILE = Path(__file__).parents[1] / "deploy/docker/Dockerfile"
# `ARG PYTHON=3.11-slim`, or the same with a digest that an earlier run put there.
_TAG = re.compile(r"^ARG PYTHON=([\w.-]+)(?:@sha256:[0-9a-f]{64})?$", re.MULTILINE)
_IMAGE = "python"
_SECONDS = 60


def main() -> int:
    """Pin; the exit status."""
    text = DOCKERFILE.read_text("utf-8")
    (tag,) = _TAG.findall(text)
    digest = find_digest(f"{_IMAGE}:{tag}")
    if digest is None:
        return 1
    DOCKERFILE.write_text(pinned(text, digest), "utf-8")
    print(f"{DOCKERFILE}: {_IMAGE}:{tag}@{digest}")
    return 0


def pinned(text: str, digest: str) -> str:
    """The Dockerfile with this digest of its base image."""
    return _TAG.sub(lambda found: f"ARG PYTHON={found[1]}@{digest}", text)


def find_digest(image: str) -> str | None:
    """The digest that the registry has for an image now; None, and a line why, if it has none."""
    docker = shutil.which("docker")
    if docker is None:
        print("docker is not installed: nothing is pinned", file=sys.stderr)
        return None
    command = [docker, "buildx", "imagetools", "inspect", image]
    form = ["--format", "{{.Manifest.Digest}}"]
    try:
        done = subprocess.run(
            [*command, *form], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        digest, error = done.stdout.strip(), done.stderr.strip()
    except subprocess.TimeoutExpired:
        digest, error = "", f"no answer within {_SECONDS} s"
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        last = (error or "it told no digest").splitlines()[-1]
        print(f"the registry of {image} is not reached, nothing is pinned: {last}", file=sys.stderr)
        return None
    return digest


if __name__ == "__main__":
    sys.exit(main())
