"""The command line around the settings: help, the file, lists, what is said of a bad value."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from qwire_server.errors import StartError
from qwire_server.settings import variables

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pydantic import ValidationError
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails


_SWITCHED = {
    **dict.fromkeys(("true", "on", "yes", "1"), True),
    **dict.fromkeys(("false", "off", "no", "0"), False),
}


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Leaves out defaults that only say that there is none."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return (super()._get_help_string(action) or "").replace(" (default: null)", "")


def config_file(argv: Sequence[str]) -> Path | None:
    """The file that `--config` names; it is needed before the other flags are read.

    Raises:
        StartError: there is no such file.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", type=Path, default=os.environ.get("QWIRE_CONFIG"))
    path = parser.parse_known_args(argv)[0].config
    if path is not None and not Path(path).is_file():
        raise StartError(f"--config {path}: no such file")
    return path and Path(path)


def without_values(argv: Sequence[str], fields: Mapping[str, FieldInfo]) -> list[str]:
    """The arguments with `--flag true` as `--flag`, and `--flag false` as `--no-flag`."""
    switches = {
        name.replace("_", "-") for name, field in fields.items() if field.annotation is bool
    }
    told: list[str] = []
    left = list(argv)
    while left:
        argument = left.pop(0)
        name, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or name not in switches:
            told.append(argument)
            continue
        if not equals and left and left[0].lower() in _SWITCHED:
            value = left.pop(0)
        on = _SWITCHED.get(value.lower(), None if equals else True)
        told.append(argument if on is None else f"--{name}" if on else f"--no-{name}")
    return told


def words(listed: str | None) -> tuple[str, ...]:
    """A setting with commas between its words, word by word."""
    return tuple(filter(None, (word.strip() for word in (listed or "").split(","))))


def all_told(error: ValidationError, settings: Collection[str]) -> str:
    """Everything that is wrong with the settings, by the names of their flags."""
    return "; ".join(_told(detail, settings) for detail in error.errors())


def _told(error: ErrorDetails, settings: Collection[str]) -> str:
    name = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        nearest = variables.nearest(name, settings)
        return f"{name} in the --config file is not a setting{nearest}"
    message = error["msg"].removeprefix("Value error, ")
    if not name:  # of several settings
        return message
    return f"--{name.replace('_', '-')}: {message} (got {error['input']!r})"
