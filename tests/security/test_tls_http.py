"""TLS on the HTTP port: the same files, for clients as they are."""

from __future__ import annotations

import datetime as dt
import ssl
import time
from typing import TYPE_CHECKING

import httpx
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from support import web_client
from support.certificates import BEGIN, Authority, speaks, write
from support.machine_speed import hang_limit
from support.web_front import Front, front

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def web(authority: Authority) -> Iterator[Front]:
    settings = {**authority.server().settings, "tls_client_ca": authority.file}
    with front(settings) as running:
        yield running


def url(web: Front) -> str:
    return f"https://localhost:{web.server.http_port}"


def trusting(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authority.pem.decode())


def client(web: Front, authority: Authority) -> httpx.Client:
    return web_client.client(base_url=url(web), verify=trusting(authority), timeout=hang_limit(15))


def test_the_openai_sdk_embeds_over_https(web: Front, authority: Authority):
    """Without a client's certificate, though gRPC wants one."""
    with (
        client(web, authority) as over,
        openai.OpenAI(base_url=f"{url(web)}/v1", api_key="any", http_client=over) as sdk,
    ):
        reply = sdk.embeddings.create(model="Fake-Embedding-0.1B", input=["a", "b"])
    assert len(reply.data) == 2
    (record,) = web.observer.requests
    assert record.client == "ipv4:127.0.0.1"


def test_who_does_not_know_the_authority_refuses_the_server(web: Front, tmp_path: Path):
    with (
        client(web, Authority(tmp_path, "other")) as over,
        pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        over.get("/health/live")


def test_plain_http_gets_no_answer(web: Front):
    with pytest.raises(httpx.TransportError):
        web_client.get(
            f"http://localhost:{web.server.http_port}/health/live", timeout=hang_limit(15)
        )


@pytest.mark.parametrize("named", [True, False])
def test_a_renewed_certificate_is_taken_up_and_open_connections_go_on(
    web: Front, authority: Authority, tmp_path: Path, named: bool
):
    """Whether or not the client names the server (SNI)."""
    other = Authority(tmp_path, "other")
    host = "localhost" if named else "127.0.0.1"
    there = f"https://{host}:{web.server.http_port}"

    def ready(client: httpx.Client) -> bool:
        return client.get(f"{there}/health/ready").status_code == 200

    with client(web, authority) as old:
        assert ready(old)
        authority.server(other.issue())
        while not web.observer.reloads:
            web.server.certificate_expires  # noqa: B018  a look
            time.sleep(0.05)
        assert ready(old)
        with client(web, other) as new:
            assert ready(new)
        with client(web, authority) as late, pytest.raises(httpx.ConnectError):
            ready(late)


EXPIRATION = "qwire_certificate_expiration_timestamp_seconds"


def exposed(over: httpx.Client) -> list[float]:
    """Values of the series that tells the certificate's end."""
    families = text_string_to_metric_families(over.get("/metrics").text)
    return [s.value for family in families for s in family.samples if s.name == EXPIRATION]


def test_the_end_of_the_certificate_is_a_metric_that_follows_a_renewal(
    web: Front, authority: Authority
):
    """Nobody but the scrape looks."""
    with client(web, authority) as over:
        (first,) = exposed(over)
        assert first == web.server.certificate_expires
        sooner = dt.datetime.now(dt.timezone.utc).replace(microsecond=0) + dt.timedelta(days=10)
        authority.server(authority.issue(not_before=BEGIN, not_after=sooner))
        while exposed(over) == [first]:
            time.sleep(0.05)
        assert exposed(over) == [sooner.timestamp()]


def test_without_tls_there_is_no_such_metric():
    with front() as plain, web_client.client(base_url=plain.url) as over:
        assert exposed(over) == []
        assert EXPIRATION not in over.get("/metrics").text


def test_a_certificate_of_no_use_changes_nothing(web: Front, authority: Authority):
    files = authority.server()
    write(files.key, authority.issue().key)
    while not web.observer.reloads:
        web.server.certificate_expires  # noqa: B018  a look
        time.sleep(0.05)
    assert "is not the key" in web.observer.reloads[0].wrong
    with client(web, authority) as over:
        assert over.get("/health/ready").status_code == 200


@pytest.mark.parametrize(
    ("version", "taken"),
    [("TLSv1", False), ("TLSv1_1", False), ("TLSv1_2", True), ("TLSv1_3", True)],
)
def test_no_version_below_tls_1_2_is_spoken(
    web: Front, authority: Authority, version: str, taken: bool
):
    assert speaks(web.server.http_port, authority, version) == taken


def test_the_log_says_that_it_is_tls(authority: Authority, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO", "qwire.server")
    with front(authority.server().settings) as running:
        here = f"grpcs 127.0.0.1:{running.server.port} and https 127.0.0.1:"
    assert any(here in message for message in caplog.messages)
