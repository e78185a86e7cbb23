"""How far a download is, in words."""

from __future__ import annotations

import logging

import pytest

from qwire_server.checkpoint.progress import LOADING, Progress


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(caplog: pytest.LogCaptureFixture) -> Clock:
    caplog.set_level(logging.INFO, "qwire.server")
    return Clock()


def test_before_and_after_a_download_the_model_is_loading(clock: Clock):
    progress = Progress(clock=clock)
    assert str(progress) == LOADING
    progress.begin("Acme/X")
    progress.end()
    assert str(progress) == LOADING


def test_a_caller_is_told_megabytes(clock: Clock):
    progress = Progress(clock=clock)
    progress.begin("Acme/X")
    assert str(progress) == "the model is being downloaded: its size is not yet known"
    progress.expect(1_190_000_000)
    progress.received(340_000_000)
    assert str(progress) == "the model is being downloaded: 340 of 1190 MB (28 %)"


def test_a_log_line_comes_every_five_seconds_and_at_the_end(
    clock: Clock, caplog: pytest.LogCaptureFixture
):
    progress = Progress(clock=clock)
    progress.begin("Acme/X")
    progress.expect_more(100_000_000)
    for second in range(12):
        clock.now = 100.0 + second
        progress.received(8_000_000)
    progress.received(4_000_000)
    progress.end()
    assert [record.getMessage() for record in caplog.records] == [
        "downloading Acme/X: 48 of 100 MB (48 %), 9.6 MB/s",
        "downloading Acme/X: 88 of 100 MB (88 %), 8.8 MB/s",
        "downloaded Acme/X: 100 of 100 MB (100 %), 9.1 MB/s",
    ]


def test_where_bars_are_drawn_and_where_a_cache_answers_no_line_is_logged(
    clock: Clock, caplog: pytest.LogCaptureFixture
):
    drawn, cached = Progress(bars=True, clock=clock), Progress(clock=clock)
    for progress, num_bytes in [(drawn, 5_000_000), (cached, 0)]:
        progress.begin("Acme/X")
        progress.expect(num_bytes)
        clock.now += 60
        if num_bytes:
            progress.received(num_bytes)
        progress.end()
    assert not caplog.records
