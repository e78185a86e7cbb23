"""A browser for the whole session, a page of its own for each test, servers with a fake model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.browser import Browser, Page, found
from support.web_front import Front, serve

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A busy machine may take long to start a browser."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(120), append=False)
            item.add_marker("torch")


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = found()
    if not program:
        pytest.skip("no chromium here: `make browser` installs it on Debian as root")
    started = Browser(program, tmp_path_factory.mktemp("chromium"))
    try:
        yield started
    finally:
        started.close()


@pytest.fixture(scope="session")
def web() -> Iterator[Front]:
    """A server with a fake model of 32 values that takes instructions and knows all languages."""
    with serve() as started:
        yield started


@pytest.fixture
def page(browser: Browser, web: Front) -> Iterator[Page]:
    """An English, light page; it must ask nobody but its server, and its console stays clean."""
    with browser.page() as opened:
        opened.open(web.url)
        yield opened
        assert opened.errors == []
        assert [url for url in opened.requests if not url.startswith(web.url)] == []
