"""A real Chromium without a window, spoken to in the DevTools protocol through a pipe.

Needs the `chromium` of the system (Debian: `apt-get install chromium`), and no package.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.machine_speed import hang_limit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_SECONDS = 15.0  # for anything that a page is expected to do; machines of tests are busy
# Chromium reads commands from descriptor 3 and writes to 4.
_LAUNCH = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
_FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",  # tests run as root in containers; only our own page is opened
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
_KEYS = {"Enter": (13, "\r"), "Tab": (9, ""), "Escape": (27, ""), " ": (32, " ")}
_KEYS |= {f"Arrow{name}": (37 + i, "") for i, name in enumerate(("Left", "Up", "Right", "Down"))}


def found() -> str | None:
    """The browser's program; None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """A running browser.

    Args:
        program: to run.
        folder: for its profile.
    """

    def __init__(self, program: str, folder: Path) -> None:
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        command = [sys.executable, "-c", _LAUNCH, str(theirs_in), str(theirs_out), program]
        self._process = subprocess.Popen(
            [*command, *_FLAGS, f"--user-data-dir={folder}"],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._ids = itertools.count(1)
        self._sending = threading.Lock()
        # Mutable, shared with the reading thread: who waits for which command, pages by session.
        self._answers: dict[int, queue.SimpleQueue[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def close(self) -> None:
        """End the browser."""
        with contextlib.suppress(OSError):
            self._write({"id": next(self._ids), "method": "Browser.close"})
        try:
            self._process.wait(hang_limit(10))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(hang_limit(5))
        os.close(self._out)
        os.close(self._in)

    @contextlib.contextmanager
    def page(
        self, *, languages: str = "en-US", theme: str = "light", size: tuple[int, int] = (1280, 900)
    ) -> Iterator[Page]:
        """A page with storage of its own, which ends with it."""
        context = self.send("Target.createBrowserContext")["browserContextId"]
        try:
            yield self.tab(context, languages=languages, theme=theme, size=size)
        finally:
            self.send("Target.disposeBrowserContext", browserContextId=context)

    def tab(self, context: str, *, languages: str, theme: str, size: tuple[int, int]) -> Page:
        """One more page that shares its storage."""
        target = self.send("Target.createTarget", url="about:blank", browserContextId=context)
        told = self.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        page = self._pages[told["sessionId"]] = Page(self, told["sessionId"])
        for domain in ("Page", "Runtime", "Network", "Log"):
            page.send(f"{domain}.enable")
        agent = self.send("Browser.getVersion")["userAgent"]
        page.send("Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage=languages)
        page.prefer(theme)
        width, height = size
        page.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        return page

    def send(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """A command's result."""
        number = next(self._ids)
        answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._answers[number] = answers
        command = {"id": number, "method": method, "params": params}
        self._write(command | ({"sessionId": session} if session else {}))
        answer = answers.get(timeout=_SECONDS * 2)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _write(self, command: dict[str, Any]) -> None:
        left = memoryview(json.dumps(command).encode() + b"\0")
        with self._sending:
            while left:
                left = left[os.write(self._out, left) :]

    def _read(self) -> None:
        rest = b""
        while part := os.read(self._in, 1 << 20):
            *whole, rest = (rest + part).split(b"\0")
            for message in map(json.loads, whole):
                if waiting := self._answers.pop(message.get("id"), None):
                    waiting.put(message)
                elif page := self._pages.get(message.get("sessionId", "")):
                    page.happened(message["method"], message["params"])


@dataclass
class Page:
    """One tab.

    Attributes:
        requests: addresses that it asked for.
        keys: Authorization headers that it sent.
        errors: what its console shows in red, violations of its policy included.
    """

    browser: Browser
    session: str
    requests: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    _loaded: threading.Event = field(default_factory=threading.Event)

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """A command's result."""
        return self.browser.send(method, self.session, **params)

    def happened(self, method: str, params: dict[str, Any]) -> None:
        """Note an event; called by the browser's thread."""
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
            headers = {name.lower(): value for name, value in params["request"]["headers"].items()}
            self.keys += filter(None, [headers.get("authorization")])
        elif method == "Page.loadEventFired":
            self._loaded.set()
        elif method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in {"error", "warning"}:
            self.errors.append(json.dumps(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in {"error", "warning"}:
            self.errors.append(f"{params['entry']['text']} {params['entry'].get('url')}")

    def open(self, url: str) -> None:
        """Go there, until it is loaded."""
        self._loaded.clear()
        told = self.send("Page.navigate", url=url)
        assert "errorText" not in told, told
        assert self._loaded.wait(_SECONDS), f"{url} was never loaded"

    def reload(self) -> None:
        """Load it anew, until it is loaded."""
        self._loaded.clear()
        self.send("Page.reload")
        assert self._loaded.wait(_SECONDS), "never loaded again"

    def js(self, expression: str) -> Any:
        """The value of an expression, which may await; nothing of a block in braces."""
        body = expression if expression.startswith("{") else f"({expression})"
        told = self.send(
            "Runtime.evaluate",
            expression=f"(async () => {body})()",
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def until(self, expression: str, seconds: float = _SECONDS) -> Any:
        """Wait until an expression is true; its value."""
        ends = time.monotonic() + hang_limit(seconds)
        while not (value := self.js(expression)):
            assert time.monotonic() < ends, f"never true: {expression}\n{self.text('body')}"
            time.sleep(0.02)
        return value

    def text(self, selector: str) -> str:
        """What an element shows."""
        return self.js(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")

    def texts(self, selector: str) -> list[str]:
        """What each of the elements shows."""
        chosen = f"document.querySelectorAll({json.dumps(selector)})"
        return self.js(f"[...{chosen}].map((element) => element.innerText)")

    def see(self, selector: str, text: str = "") -> str:
        """Wait until an element shows a text; all that it shows."""
        self.until(
            f"[...document.querySelectorAll({json.dumps(selector)})].some((element) => "
            f"element.checkVisibility() && element.innerText.includes({json.dumps(text)}))"
        )
        return self.text(selector)

    def click(self, selector: str) -> None:
        """Press the mouse on the middle of an element."""
        chosen = f"document.querySelector({json.dumps(selector)})"
        self.until(f"{chosen}?.checkVisibility() && !{chosen}.disabled")
        self.js(f"{chosen}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        box = self._still(f"{chosen}.getBoundingClientRect().toJSON()")
        at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **at)

    def _still(self, box: str) -> dict[str, float]:
        """A box that does not move any more."""
        last, now = None, self.js(box)
        while last != now:
            last, now = now, self.js(f"await new Promise(requestAnimationFrame), {box}")
        return now

    def type(self, text: str) -> None:
        """Into what has the focus."""
        self.send("Input.insertText", text=text)

    def press(self, key: str, times: int = 1) -> None:
        """A key by its name, down and up."""
        code, text = _KEYS[key]
        told = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": code}
        for _ in range(times):
            down = {"type": "keyDown" if text else "rawKeyDown"} | ({"text": text} if text else {})
            self.send("Input.dispatchKeyEvent", **told, **down)
            self.send("Input.dispatchKeyEvent", **told, type="keyUp")

    def choose_files(self, selector: str, files: Sequence[Path]) -> None:
        """Give files to a field."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in files])

    def prefer(self, theme: str) -> None:
        """Set the system's theme: light or dark."""
        features = [{"name": "prefers-color-scheme", "value": theme}]
        self.send("Emulation.setEmulatedMedia", features=features)

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """Save what is seen, or the whole page, as PNG."""
        told = self.send("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(told["data"]))
