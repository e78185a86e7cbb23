"""Who may come in, with what: names, types, sizes, other pages."""

from __future__ import annotations

import json

import httpx
import pytest

from qwire_server.api.http.rules import LOOPBACK_NAMES, allowed_hosts, host_name
from support import web_client
from support.web_front import Front, front

PATH = "/v1/embeddings"
JSON = {"content-type": "application/json"}


@pytest.mark.parametrize("path", ["/", "/health/ready", "/v1/models", "/metrics", "/docs"])
def test_a_page_whose_name_was_made_to_point_here_gets_nothing(web: Front, path: str):
    """DNS rebinding: the browser believes that this server is evil.example.org."""
    for host in ("evil.example.org", f"evil.example.org:{web.server.http_port}", "localhost.evil"):
        reply = web_client.get(f"{web.url}{path}", headers={"host": host})
        assert reply.status_code == 403
        assert "--http-allowed-hosts" in reply.json()["error"]["message"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:80", "[::1]:8000"])
def test_loopback_names_are_known(web: Front, host: str):
    assert web_client.get(f"{web.url}/health/live", headers={"host": host}).status_code == 200


def test_hosts_are_what_the_settings_say():
    with front({"http_allowed_hosts": "qwire.internal, 127.0.0.1"}) as web:

        def status(host: str) -> int:
            return web_client.get(f"{web.url}/health/live", headers={"host": host}).status_code

        assert status("Qwire.Internal:8000") == 200
        assert status("localhost") == 403


def test_a_server_on_a_network_is_asked_by_names_that_it_cannot_know():
    assert allowed_hosts("127.0.0.1", ()) == LOOPBACK_NAMES
    assert allowed_hosts("::1", ()) == allowed_hosts("localhost", ()) == LOOPBACK_NAMES
    assert allowed_hosts("0.0.0.0", ()) == allowed_hosts("127.0.0.1", ("*",)) == ()
    assert host_name("[::1]:80") == "::1"
    assert host_name("a.b.:80") == "a.b"


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_what_another_page_can_send_without_asking_is_refused(web: Front, kind: str | None):
    body = json.dumps({"input": "a"}).encode()
    headers = {"content-type": kind} if kind else {}
    for path in (PATH, "/rerank", "/embed"):
        reply = web_client.post(web.url + path, content=body, headers=headers)
        assert reply.status_code == 415
        assert "Content-Type: application/json" in reply.text


def test_a_body_without_a_type_needs_a_key_beside_it(web: Front):
    """No page of another origin may send that header without asking first."""
    body = b'{"input":"a"}'
    with_key = web_client.post(web.url + PATH, content=body, headers={"authorization": "Bearer x"})
    assert with_key.status_code == 200


def test_json_may_name_its_charset(web: Front):
    kind = "Application/JSON; charset=utf-8"
    reply = web_client.post(
        web.url + PATH, content=b'{"input":"a"}', headers={"content-type": kind}
    )
    assert reply.status_code == 200


def test_other_origins_are_told_nothing_unless_configured(web: Front):
    """No CORS header, so a browser does not send JSON, nor show what a GET was answered."""
    ask = {"origin": "https://app.example.org", "access-control-request-method": "POST"}
    asked = web_client.options(web.url + PATH, headers=ask)
    got = web_client.get(f"{web.url}/v1/models", headers={"origin": "https://app.example.org"})
    for reply in (asked, got):
        assert not [name for name in reply.headers if name.startswith("access-control")]
    assert asked.status_code == 405
    assert got.headers["cross-origin-resource-policy"] == "same-origin"


def test_configured_origins_may_call():
    with front({"http_cors_origins": "https://app.example.org,https://b.example.org"}) as web:
        ask = {
            "access-control-request-method": "POST",
            "access-control-request-headers": "content-type,authorization",
        }
        asked = web_client.options(
            web.url + PATH, headers={**ask, "origin": "https://app.example.org"}
        )
        assert asked.status_code == 200
        assert asked.headers["access-control-allow-origin"] == "https://app.example.org"
        other = web_client.options(
            web.url + PATH, headers={**ask, "origin": "https://evil.example"}
        )
        assert "access-control-allow-origin" not in other.headers
        sent = web_client.post(
            web.url + PATH, json={"input": "a"}, headers={"origin": "https://b.example.org"}
        )
        assert sent.headers["access-control-allow-origin"] == "https://b.example.org"


def parts(size: int):
    """A body whose length is not told in advance."""
    for _ in range(size // 1024):
        yield b" " * 1024


def test_a_body_that_is_too_large_is_413_whether_its_size_is_told_or_not():
    with (
        front({"http_body_bytes": 64 * 1024}) as web,
        web_client.client(base_url=web.url) as client,
    ):
        fits = json.dumps({"input": "a"}).encode().ljust(64 * 1024)
        assert client.post(PATH, content=fits, headers=JSON).status_code == 200
        for content in (fits + b" ", parts(128 * 1024)):
            reply = client.post(PATH, content=content, headers=JSON)
            assert reply.status_code == 413
            assert "--http-body-bytes" in reply.json()["error"]["message"]
        assert client.post(PATH, json={"input": "a"}).status_code == 200


def test_a_body_without_end_is_cut_and_never_held():
    """The server reads on a little, so that the client sees the answer, and then no more."""
    with (
        front({"http_body_bytes": 64 * 1024}) as web,
        web_client.client(base_url=web.url) as client,
    ):
        try:
            reply = client.post(PATH, content=parts(512 * 1024 * 1024), headers=JSON)
        except httpx.TransportError:
            pass  # cut while it was sending
        else:
            assert reply.status_code == 413
        assert web.observer.requests[-1].reason == "INVALID_REQUEST"
        assert client.post(PATH, json={"input": "a"}).status_code == 200


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"input": "\xff"}', b'{"input":' + b"[" * 5000]
)
def test_what_is_no_json_is_400_and_is_not_repeated(web: Front, content: bytes):
    reply = web_client.post(web.url + PATH, content=content, headers=JSON)
    assert reply.status_code == 400
    assert reply.json()["error"]["type"] == "invalid_request_error"


def test_no_error_repeats_a_text(web: Front):
    for fields in ({"input": {"x": "secret-text"}}, {"input": "a", "dimensions": "secret-text"}):
        reply = web_client.post(web.url + PATH, json=fields)
        assert reply.status_code == 400
        assert "secret-text" not in reply.text


def test_an_unknown_path_and_a_wrong_method_say_where_to_look(web: Front):
    """In OpenAI's shape."""
    unknown = web_client.post(f"{web.url}/v2/embeddings", json={})
    assert unknown.status_code == 404
    assert "/docs" in unknown.json()["error"]["message"]
    assert web_client.get(f"{web.url}/v1/chat/completions").status_code == 404
    wrong = web_client.get(web.url + PATH)
    assert wrong.status_code == 405
    assert "/docs" in wrong.json()["error"]["message"]


def test_pages_may_use_nothing_from_elsewhere(web: Front):
    """A strict policy on each response, and no address of another server in what is served."""
    for path in ("/", "/docs", "/app.js", "/docs.js", "/plain.css"):
        reply = web_client.get(web.url + path)
        assert reply.status_code == 200
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert "://" not in reply.text
        assert "<style" not in reply.text
        assert reply.headers["x-content-type-options"] == "nosniff"
    assert web_client.get(f"{web.url}/../../settings.py").status_code == 404
    assert web_client.get(f"{web.url}/%2e%2e/%2e%2e/app.py").status_code == 404


def test_the_document_that_docs_shows_has_every_route_and_field(web: Front):
    told = web_client.get(f"{web.url}/openapi.json").json()
    routes = {"/v1/embeddings", "/v1/models", "/v1/models/{name}", "/rerank", "/v1/rerank"}
    routes |= {"/v1/embed", "/v2/embed"}
    routes |= {"/v2/rerank", "/embed", "/info", "/health/live", "/health/ready", "/metrics"}
    assert set(told["paths"]) == routes
    body = told["paths"]["/v1/embeddings"]["post"]["requestBody"]["content"]["application/json"]
    assert {"input", "model", "dimensions", "instruction"} <= set(body["schema"]["properties"])
    assert "x-qwire-class" in told["info"]["description"]
