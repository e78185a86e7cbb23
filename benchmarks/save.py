"""Results as files: JSON, named by when and where they were made."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def stem(about: dict[str, Any]) -> str:
    """`<date and minute>-<machine class>`, of what `machine.about` gave."""
    minute = about["date"][:16].replace(":", "")
    return f"{minute}-{about['machine']['class']}"


def save(result: dict[str, Any], folder: Path, name: str) -> Path:
    """Write `<name>.json`, and say so; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path.name}", file=sys.stderr, flush=True)
    return path
