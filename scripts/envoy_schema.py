"""Hold an Envoy configuration against the messages of Envoy's API: `envoy_schema.py envoy.yaml`.

Every name must be a field of its message, every value of its field's kind. Needs envoy-data-plane
(scripts/check_deploy.py); its own reader does not know all names as Envoy spells them.
"""

import dataclasses
import datetime as dt
import importlib
import sys
import typing
from pathlib import Path
from typing import Any, Iterator  # noqa: UP035  as in environment.py

import betterproto2
import yaml
from envoy_data_plane.envoy.config.bootstrap.v3 import Bootstrap


def main() -> None:
    """Check the file; exit status 1 with what is wrong."""
    content = yaml.safe_load(Path(sys.argv[1]).read_text("utf-8"))
    wrong = list(message(Bootstrap, content, ""))
    sys.exit("\n".join(wrong) or 0)


def message(kind: Any, content: Any, where: str) -> Iterator[str]:
    """What is wrong with one message."""
    if not isinstance(content, dict):
        yield f"{where}: {content!r} is no {kind.__name__}"
        return
    hints = typing.get_type_hints(kind, vars(sys.modules[kind.__module__]))
    known = {field.name for field in dataclasses.fields(kind)}
    for name, value in content.items():
        at = f"{where}.{name}"
        if name == "@type":
            continue
        if name not in known:
            yield f"{at}: {kind.__name__} has no such field"
            continue
        yield from field(hints[name], value, at)


def field(hint: Any, value: Any, where: str) -> Iterator[str]:
    """What is wrong with one field: a list, a map, or one value that may be missing."""
    inner = [kind for kind in typing.get_args(hint) if kind is not type(None)] or [hint]
    if typing.get_origin(hint) is list:
        for number, each in enumerate(value):
            yield from one(inner[0], each, f"{where}[{number}]")
    elif typing.get_origin(hint) is dict:
        for key, each in value.items():
            yield from one(inner[1], each, f"{where}[{key}]")
    else:
        yield from one(inner[0], value, where)


def one(kind: Any, value: Any, where: str) -> Iterator[str]:
    """What is wrong with one value."""
    if kind is dt.timedelta:
        good = (
            isinstance(value, str) and value.endswith("s") and value[:-1].replace(".", "").isdigit()
        )
        if not good:
            yield f"{where}: {value!r} is no duration, such as 5s"
    elif issubclass(kind, betterproto2.Enum):
        if value not in kind.__members__:
            yield f"{where}: {value!r} is none of {', '.join(kind.__members__)}"
    elif kind.__name__ == "Any":
        yield from message(named(value["@type"]), value, where)
    elif kind.__name__.endswith("Value") and not isinstance(value, dict):
        return  # a wrapped number or truth, written bare
    elif issubclass(kind, betterproto2.Message):
        yield from message(kind, value, where)
    elif not isinstance(value, (int, float) if kind is float else kind):
        yield f"{where}: {value!r} is no {kind.__name__}"


def named(url: str) -> Any:
    """The class of a type's address, `type.googleapis.com/package.Message`."""
    package, _, name = url.rpartition("/")[2].rpartition(".")
    return getattr(importlib.import_module(f"envoy_data_plane.{package}"), name)


if __name__ == "__main__":
    main()
