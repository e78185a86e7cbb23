"""The clients of these tests: httpx keeps its default for everybody else."""

from __future__ import annotations

import httpx

from support import web_client


def test_httpx_has_its_own_default_and_clients_of_tests_have_theirs():
    with httpx.Client() as plain, web_client.client() as ours:
        assert plain.timeout == httpx.Timeout(5)
        assert ours.timeout.read
        assert ours.timeout.read >= 20
