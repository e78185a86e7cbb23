"""Results as files: JSON, named by when and where they were made."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def stem(about: dict[str, Any], where: str = "") -> str:
    """`<date and minute>-<where>`, of what `machine.about` gave; where: the machine's class."""
    minute = about["date"][:16].replace(":", "")
    return f"{minute}-{where or about['machine']['class']}"


def save(result: dict[str, Any], folder: Path, name: str) -> Path:
    """Write `<name>.json`, and say so; its path."""
    path = folder / f"{name}.json"
    write(result, path)
    print(f"wrote {path.name}", file=sys.stderr, flush=True)
    return path


def write(result: dict[str, Any], path: Path) -> None:
    """Whole or not at all: a reader, or a machine that is taken away, finds no half of a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)
