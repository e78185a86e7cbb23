"""`qwire key`: makes, lists and revokes the keys that a server takes. Needs no server package."""

from __future__ import annotations

import contextlib
import os
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from qwire import keyfile
from qwire.errors import InvalidRequestError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from qwire.keyfile import Entry

_VARIABLE = "QWIRE_API_KEYS_FILE"


def add_to(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the verb."""
    verb = verbs.add_parser(
        "key",
        help="make, list and revoke the API keys of a server",
        description="Make, list and revoke the API keys in a file, which `qwire serve "
        "--api-keys-file` takes up within seconds of a change.",
        epilog="example: qwire key new ingest --scopes embed --file keys.toml",
    )
    acts = verb.add_subparsers(dest="act", required=True, metavar="ACT")
    new = acts.add_parser("new", help="make a key: it is printed once, and kept nowhere")
    new.add_argument("name", help="whose it is; logs and quotas know the client by it")
    new.add_argument(
        "--scopes",
        type=lambda text: tuple(filter(None, (word.strip() for word in text.split(",")))),
        default=("embed", "rerank"),
        help="embed, rerank, metrics, with commas between them (default: embed,rerank)",
    )
    new.add_argument("--tokens-per-minute", type=int, help="default: the server's own setting")
    new.add_argument("--streams", type=int, help="open at once; default: the server's own setting")
    listed = acts.add_parser("list", help="show the keys, without their secrets")
    revoke = acts.add_parser("revoke", help="take a key away; open streams end within seconds")
    revoke.add_argument("name", metavar="name|id", help="whose it is, or its part before the dot")
    for act, run_act in ((new, _new), (listed, _list), (revoke, _revoke)):
        act.add_argument("--file", help=f"of the keys; default: {_VARIABLE}")
        act.set_defaults(run=run, run_act=run_act)


def run(options: argparse.Namespace) -> int:
    """Do what was asked with the file.

    Raises:
        InvalidRequestError: the file, or what was asked, is not as it should be.
    """
    name = options.file or os.environ.get(_VARIABLE)
    if not name:
        raise InvalidRequestError(f"which file? give --file, or set {_VARIABLE}")
    path = Path(name).resolve()  # a link stays, and what it names is changed
    try:
        lines = options.run_act(options, path)
    except InvalidRequestError:
        raise
    except ModuleNotFoundError as error:  # of Python 3.10
        raise InvalidRequestError('this needs tomli: pip install "qwire[server]"') from error
    except (OSError, ValueError) as error:
        raise InvalidRequestError(f"{path}: {_reason(error)}") from error
    for line in lines:
        print(line)
    return 0


def _new(options: argparse.Namespace, path: Path) -> list[str]:
    try:
        entry, key = keyfile.made(
            options.name,
            options.scopes,
            datetime.now(timezone.utc),
            tokens_per_minute=options.tokens_per_minute,
            streams=options.streams,
        )
    except ValueError as error:  # not of the file
        raise InvalidRequestError(str(error)) from error
    with _changed(path) as change:
        change(keyfile.with_entry(_text(path), entry))
    print(f"key {entry.name!r} is in {path}; it is not shown again", file=sys.stderr)
    return [key]


def _list(_: argparse.Namespace, path: Path) -> list[str]:
    entries = _entries(path)
    rows = [("name", "id", "scopes", "tokens/min", "streams", "created")]
    rows += [
        (
            e.name,
            e.id,
            ",".join(e.scopes),
            str(e.tokens_per_minute or "-"),
            str(e.streams or "-"),
            e.created.isoformat(sep=" ") if e.created else "-",
        )
        for e in entries
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _revoke(options: argparse.Namespace, path: Path) -> list[str]:
    with _changed(path) as change:
        entry = _named(options.name, _entries(path))
        change(keyfile.without_entry(_text(path), entry))
    return [f"key {entry.name!r} ({entry.id}) is revoked: servers refuse it within seconds"]


def _named(name: str, entries: Sequence[Entry]) -> Entry:
    for entry in entries:
        if name in {entry.name, entry.id}:
            return entry
    raise ValueError("there is no key of that name or id: `qwire key list` shows them")


def _entries(path: Path) -> list[Entry]:
    return keyfile.parse(path.read_text("utf-8"))


def _text(path: Path) -> str:
    return path.read_text("utf-8") if path.exists() else ""


@contextlib.contextmanager
def _changed(path: Path) -> Iterator[Callable[[str], None]]:
    """Change a file as a whole, one process at a time.

    The new content is written beside it, in a file that only one process can make, and then takes
    its place: whoever reads meanwhile reads all of the old or all of the new.
    """
    new = path.with_name(path.name + ".new")
    try:
        file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ValueError(
            f"another `qwire key` is changing it; if none is, one was killed: remove {new}"
        ) from None

    is_ours = True  # until it has taken the other's place; then the next one may make its own

    def change(text: str) -> None:
        nonlocal is_ours
        written.write(text.encode())
        written.flush()
        os.fsync(file)
        _as_before(path, new)
        new.replace(path)
        is_ours = False

    with os.fdopen(file, "wb") as written:
        try:
            yield change
        finally:
            if is_ours:
                new.unlink()


def _as_before(path: Path, new: Path) -> None:
    """Let who could read the file read the new one: a server may run as somebody else."""
    if path.exists():
        before = path.stat()
        new.chmod(before.st_mode & 0o777)
        if hasattr(os, "chown"):
            with contextlib.suppress(PermissionError):
                os.chown(new, before.st_uid, before.st_gid)


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
