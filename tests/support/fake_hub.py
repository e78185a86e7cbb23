"""A hub on loopback: what huggingface_hub and modelscope-hub ask for, out of a folder, with faults.

A process of its own is not needed: whoever downloads is one.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MODEL = "Acme/Tiny-Qwen3"


@dataclass
class Fault:
    """What happens to a file's next replies.

    Attributes:
        after: bytes of the body that are sent before it.
        times: replies that it happens to.
        stalls: the connection stays open and silent; it is closed otherwise.
    """

    after: int
    times: int = 1
    stalls: bool = False


@dataclass
class FakeHub:
    """One model, its files, what goes wrong, and who asked for what.

    Attributes:
        folder: that is served as MODEL.
        revisions: branch or tag, and its commit.
        silent: everything is taken and nothing answered.
        refuses: status and X-Error-Code that everything is answered with.
        faults: by file name.
        requests: method, path (without its query) and Range of each.
        released: set it to let stalled replies end.
    """

    folder: Path
    revisions: dict[str, str] = field(default_factory=lambda: {"main": COMMIT, "master": COMMIT})
    silent: bool = False
    refuses: tuple[int, str] | None = None
    faults: dict[str, Fault] = field(default_factory=dict)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def asked(self, name: str, method: str = "GET") -> list[str]:
        """Range of each request for a file, empty for the whole of it."""
        return [r for verb, path, r in self.requests if verb == method and path.endswith(name)]

    def fetched(self) -> set[str]:
        """Files of which some bytes were asked for."""
        marker = f"/resolve/{COMMIT}/"
        paths = [path for verb, path, _ in self.requests if verb == "GET"]
        return {path.partition(marker)[2] for path in paths if marker in path}

    def files(self) -> list[Path]:
        """Everything that is served."""
        return sorted(path for path in self.folder.rglob("*") if path.is_file())

    def take_fault(self, name: str) -> Fault | None:
        """The fault of this reply, if there is one."""
        fault = self.faults.get(name)
        if not fault or not fault.times:
            return None
        fault.times -= 1
        return fault


@contextmanager
def fake_hub(folder: Path) -> Iterator[FakeHub]:
    """Serve `folder` as MODEL."""
    hub = FakeHub(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        hub.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: requests are kept."""

    def do_HEAD(self) -> None:
        self._route()

    def do_GET(self) -> None:
        self._route()

    def _route(self) -> None:
        url = urlsplit(self.path)
        path, query = unquote(url.path), parse_qs(url.query)
        name = query.get("FilePath", [""])[0]
        self.hub.requests.append(
            (self.command, f"{path}/{name}" if name else path, self.headers.get("Range", ""))
        )
        if self.hub.silent:
            self.hub.released.wait()
            self.close_connection = True
        elif self.hub.refuses:
            status, code = self.hub.refuses
            self._reply(status, {}, {"X-Error-Code": code} if code else {})
        elif path.startswith("/api/v1/models/"):
            self._modelscope(path.removeprefix("/api/v1/models/"), query)
        elif path.startswith("/api/models/"):
            self._api(path.removeprefix("/api/models/"))
        elif found := re.fullmatch(rf"/{MODEL}/resolve/([^/]+)/(.+)", path):
            self._file(found[1], found[2])
        else:
            self._reply(404, {"error": "Not Found"}, {"X-Error-Code": "RepoNotFound"})

    def _api(self, path: str) -> None:
        """What huggingface_hub asks: the commit of a revision, then the files of the commit."""
        model, kind, rest = (*re.split(r"/(revision|tree)/", path), "", "")[:3]
        if model != MODEL:
            self._reply(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        elif not (commit := self._commit(rest)) and kind:
            self._reply(404, {"error": "Invalid rev"}, {"X-Error-Code": "RevisionNotFound"})
        elif kind == "tree":
            self._reply(200, [self._entry(path) for path in self.hub.files()])
        else:
            names = [{"rfilename": self._name(path)} for path in self.hub.files()]
            self._reply(200, {"id": MODEL, "sha": commit or COMMIT, "siblings": names})

    def _modelscope(self, path: str, query: dict[str, list[str]]) -> None:
        """What modelscope-hub asks: the files of a branch, then each file."""
        model, _, what = path.partition("/repo")
        commit = self._commit(query.get("Revision", ["master"])[0])
        if model != MODEL or not commit:
            self._reply(404, {"Code": 10010205001, "Success": False, "Message": "not found"})
        elif what == "/files":
            entries = [
                {
                    "Path": self._name(path),
                    "Name": path.name,
                    "Type": "blob",
                    "Size": path.stat().st_size,
                    "Sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                }
                for path in self.hub.files()
            ]
            self._reply(200, {"Code": 200, "Success": True, "Data": {"Files": entries}})
        elif "FilePath" in query:
            self._file(commit, query["FilePath"][0])
        else:
            self._reply(200, {"Code": 200, "Success": True, "Data": {"Path": model}})

    def _commit(self, revision: str) -> str:
        known = self.hub.revisions
        return revision if revision in known.values() else known.get(revision, "")

    def _name(self, path: Path) -> str:
        return path.relative_to(self.hub.folder).as_posix()

    def _entry(self, path: Path) -> dict[str, Any]:
        return {
            "type": "file",
            "path": self._name(path),
            "size": path.stat().st_size,
            "oid": hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest(),
        }

    def _file(self, revision: str, name: str) -> None:
        path = self.hub.folder / name
        commit = self._commit(revision)
        if not commit or not path.is_file():
            self._reply(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
            return
        content = path.read_bytes()
        start = int((re.findall(r"bytes=(\d+)-", self.headers.get("Range", "")) or [0])[0])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        if self.command == "GET":
            self._body(content[start:], self.hub.take_fault(name))

    def _body(self, content: bytes, fault: Fault | None) -> None:
        try:
            self.wfile.write(content[: fault.after] if fault else content)
            self.wfile.flush()
        except OSError:  # the client has gone
            self.close_connection = True
            return
        if fault:
            if fault.stalls:
                self.hub.released.wait()
            self.close_connection = True

    def _reply(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
