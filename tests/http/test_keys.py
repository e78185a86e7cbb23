"""Keys over HTTP: who may ask for what, in whose words the others are refused."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cohere
import httpx
import openai
import pytest
from starlette.routing import Route

from support import web_client
from support.keys import KeyFile, bearer, keyed_process, peak
from support.machine_speed import hang_limit
from support.web_front import Front, front

if TYPE_CHECKING:
    from collections.abc import Iterator

SCOPES = ("embed", "rerank", "metrics")
ALL = {"none", "wrong", *SCOPES}
ANY_KEY = set(SCOPES)
# Who may ask for each path; a new one needs a line here and one in `api/http/needs.py`.
MAY = {
    "/v1/embeddings": {"embed"},
    "/embeddings": {"embed"},
    "/v1/embed": {"embed"},
    "/v2/embed": {"embed"},
    "/models": ANY_KEY,
    "/models/{name:path}": ANY_KEY,
    "/v1/models": ANY_KEY,
    "/v1/models/{name:path}": ANY_KEY,
    "/rerank": {"rerank"},
    "/v1/rerank": {"rerank"},
    "/v2/rerank": {"rerank"},
    "/embed": {"embed"},
    "/info": ANY_KEY,
    "/health": ALL,
    "/health/live": ALL,
    "/health/ready": ALL,
    "/metrics": {"metrics"},
    "/openapi.json": ALL,
}
PAGE = Path(__file__).parents[2] / "server" / "qwire_server" / "api" / "http" / "page"
MIB = 2**20


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> KeyFile:
    return KeyFile(tmp_path_factory.mktemp("keys") / "keys.toml")


@pytest.fixture(scope="module")
def keys(file: KeyFile) -> dict[str, str | None]:
    """A key of each scope, none, and one that is wrong."""
    held: dict[str, str | None] = {scope: file.new(scope, scope) for scope in SCOPES}
    return held | {"none": None, "wrong": "qk0.wrong"}


@pytest.fixture(scope="module", autouse=True)
def http() -> Iterator[None]:
    """One client for all, as each makes a context for TLS, which takes its time."""
    with HTTP:
        yield


@pytest.fixture(scope="module")
def locked(file: KeyFile, keys: dict[str, str | None]) -> Iterator[Front]:
    """A server that has these keys."""
    with front({"api_keys_file": file.path, "http_cors_origins": "https://app.example.org"}) as web:
        yield web


def routes(web: Front) -> list[tuple[str, str]]:
    """Method and path of each route that the application has, whoever may use it."""
    app: Any = web.server._http._server.config.app
    while not hasattr(app, "routes"):
        app = getattr(app, "_app", None) or app.app
    return [
        (method, route.path)
        for route in leaves(app.routes)
        for method in sorted(route.methods or {"GET"})
    ]


def leaves(routes: Any) -> Iterator[Any]:
    """Routes, those of routers within included; what is neither is a thing to look at."""
    for route in routes:
        if isinstance(route, Route):
            yield route
        elif router := getattr(route, "original_router", None):  # FastAPI's, of late
            yield from leaves(router.routes)
        else:
            raise AssertionError(f"how are the paths of {route} locked?")


HTTP = web_client.client()


def ask(web: Front, method: str, path: str, key: str | None) -> httpx.Response:
    body = {"json": {}} if method == "POST" else {}
    return HTTP.request(method, web.url + path, headers=dict(bearer(key)), **body)


def test_each_route_lets_in_whom_it_should_and_no_other(locked: Front, keys: dict[str, str | None]):
    files = {f"/{file.relative_to(PAGE).as_posix()}" for file in PAGE.rglob("*") if file.is_file()}
    open_to_all = files | {"/", "/docs"}
    found = routes(locked)
    assert {path for _, path in found} == set(MAY) | open_to_all
    for method, route in found:
        may = MAY.get(route, ALL)
        if (method, route) == ("POST", "/"):  # its body says which scope it needs
            may = {"embed", "rerank"}
        path = route.replace("{name:path}", "x")
        # Of the page's many files, one key more or less makes no difference.
        for who in keys if route in MAY or method == "POST" else ("none",):
            reply = ask(locked, method, path, keys[who])
            refusal = 401 if who in {"none", "wrong"} else 403
            if who in may:
                assert reply.status_code not in {401, 403}, (method, path, who)
            else:
                assert reply.status_code == refusal, (method, path, who)
                assert reply.headers["www-authenticate"].startswith("Bearer")
                assert reply.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/nothing", "/v1/embeddings/", "//v1/embeddings", "/metrics/"])
def test_what_is_no_route_is_told_to_who_has_a_key_only(
    locked: Front, keys: dict[str, str | None], path: str
):
    assert ask(locked, "GET", path, None).status_code == 401
    assert ask(locked, "GET", path, keys["embed"]).status_code in {307, 404}
    assert locked.observer.requests[-1].method == "other"


def test_each_interface_refuses_in_its_own_words(locked: Front, keys: dict[str, str | None]):
    told = ask(locked, "POST", "/v1/embeddings", None).json()["error"]
    assert (told["type"], told["code"]) == ("invalid_request_error", "invalid_api_key")
    assert "API key" in told["message"]
    lacking = ask(locked, "POST", "/v1/embeddings", keys["rerank"])
    assert lacking.json()["error"]["code"] == "permission_denied"
    assert "scope embed" in lacking.json()["error"]["message"]
    assert 'error="insufficient_scope"' in lacking.headers["www-authenticate"]
    assert set(ask(locked, "POST", "/embed", None).json()) == {"error", "error_type"}
    cohere_and_jina = ask(locked, "POST", "/v2/rerank", None).json()
    assert "API key" in cohere_and_jina["message"]
    assert "API key" in cohere_and_jina["detail"]


def test_stock_clients_bring_their_key_and_know_the_refusal(
    locked: Front, keys: dict[str, str | None]
):
    base_url = f"{locked.url}/v1"
    with openai.OpenAI(base_url=base_url, api_key=keys["embed"]) as sdk:
        assert len(sdk.embeddings.create(model="", input="a").data[0].embedding) == 8
    with (
        openai.OpenAI(base_url=base_url, api_key="qk0.wrong") as sdk,
        pytest.raises(openai.AuthenticationError, match="not known here"),
    ):
        sdk.embeddings.create(model="", input="a")
    with (
        openai.OpenAI(base_url=base_url, api_key=keys["metrics"]) as sdk,
        pytest.raises(openai.PermissionDeniedError, match="scope embed"),
    ):
        sdk.embeddings.create(model="", input="a")
    with (
        web_client.client() as http,
        pytest.raises(cohere.UnauthorizedError, match="not known here"),
    ):
        cohere.ClientV2("qk0.wrong", base_url=locked.url, httpx_client=http).rerank(
            model="x", query="q", documents=["a"]
        )


def test_the_client_is_the_key_and_a_refused_one_its_address(
    locked: Front, keys: dict[str, str | None]
):
    HTTP.post(
        f"{locked.url}/v1/embeddings", json={"input": "a"}, headers=dict(bearer(keys["embed"]))
    )
    assert locked.observer.requests[-1].client == "key:embed"
    ask(locked, "POST", "/rerank", keys["embed"])
    last = locked.observer.requests[-1]
    assert (last.client, last.method, last.code) == ("key:embed", "/rerank", "PERMISSION_DENIED")
    ask(locked, "POST", "/embed", "qk0.wrong")
    last = locked.observer.requests[-1]
    assert (last.client, last.reason) == ("ipv4:127.0.0.1", "UNAUTHENTICATED")


def test_no_name_of_a_key_is_a_label(locked: Front, keys: dict[str, str | None]):
    ask(locked, "POST", "/embed", keys["embed"])
    metrics = ask(locked, "GET", "/metrics", keys["metrics"]).text
    assert 'code="UNAUTHENTICATED"' in metrics
    assert "key:" not in metrics


def test_a_browser_may_ask_whether_it_may_send_a_key(locked: Front):
    """A preflight brings none, and a page that is told 401 can read it."""
    origin = {"origin": "https://app.example.org"}
    asked = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }
    reply = HTTP.options(f"{locked.url}/v1/embeddings", headers=origin | asked)
    assert reply.status_code == 200
    assert "authorization" in reply.headers["access-control-allow-headers"]
    refused = HTTP.post(f"{locked.url}/v1/embeddings", json={"input": "a"}, headers=origin)
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == origin["origin"]


def test_a_revoked_key_is_refused_without_a_restart(locked: Front, file: KeyFile):
    key = file.new("short")
    for status in (200, 401):
        ends = threading.Event()
        threading.Timer(15, ends.set).start()
        while ask(locked, "GET", "/v1/models", key).status_code != status:
            assert not ends.is_set(), f"never told {status}"
        if status == 200:
            file.revoke("short")


def test_pages_can_be_off(file: KeyFile):
    with front({"http_pages": "off"}) as web:
        for path in ("/", "/docs", "/openapi.json", "/app.js"):
            reply = HTTP.get(web.url + path)
            assert reply.status_code == (405 if path == "/" else 404)
            assert "/docs" not in reply.json()["error"]["message"]
        assert HTTP.get(f"{web.url}/health/ready").status_code == 200
        assert HTTP.get(f"{web.url}/v1/models").status_code == 200
        assert len(routes(web)) < 20


@pytest.fixture
def apart(file: KeyFile, keys: dict[str, str | None]):
    """A server with keys in a process of its own, its ports, and a key."""
    with keyed_process(file) as (process, ports):
        yield process, ports, keys["embed"]


@pytest.mark.timeout(60)  # another process starts
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_a_body_without_a_key_is_never_held(apart: Any):
    """Four of the largest at once; with a key the same four are held, so the figure tells."""
    process, (_, port), key = apart
    body = b'{"input":"' + b"a" * (16 * MIB - 1024) + b'"}'

    def send(key: str | None, status: int) -> int:
        before, told = peak(process), []

        def one() -> None:
            headers = {"content-type": "application/json"} | dict(bearer(key))
            url = f"http://127.0.0.1:{port}/v1/embeddings"
            told.append(
                HTTP.post(url, content=body, headers=headers, timeout=hang_limit(30)).status_code
            )

        threads = [threading.Thread(target=one) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert told == [status] * 4
        return peak(process) - before

    send(None, 401)  # what connections take by themselves
    assert send(None, 401) < 8 * MIB
    assert send(f"{key}x", 401) < 8 * MIB
    assert send(key, 503) > 24 * MIB


def endless() -> Iterator[bytes]:
    while True:
        yield bytes(64 * 1024)


def test_a_body_without_end_and_without_a_key_is_cut(locked: Front):
    with contextlib.suppress(httpx.TransportError):  # cut while it was sending
        assert HTTP.post(f"{locked.url}/v1/embeddings", content=endless()).status_code == 401
    assert locked.observer.requests[-1].reason == "UNAUTHENTICATED"
