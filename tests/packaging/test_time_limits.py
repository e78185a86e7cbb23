"""Limits of tests that only end a hang are longer on a slow machine."""

from __future__ import annotations

import signal

import pytest

from support import machine_speed
from support.machine_speed import hang_limit, slowness


@pytest.mark.parametrize(
    ("loop", "load", "expected"), [(0, 0, 1), (5, 0, 5), (2, 9, 9), (999, 0, 20)]
)
def test_a_limit_grows_with_the_slowness_of_the_machine(monkeypatch, loop, load, expected):
    """By a timed loop or by the load of each processor, whichever is worse, up to 20 times."""
    monkeypatch.setattr(machine_speed, "_loop_seconds", lambda: loop * machine_speed._IDLE_SECONDS)
    monkeypatch.setattr(machine_speed, "_processors", lambda: 2)
    monkeypatch.setattr(machine_speed.os, "getloadavg", lambda: (load * 2.0, 0.0, 0.0))
    assert slowness.__wrapped__() == pytest.approx(expected)


def test_a_limit_is_never_shorter_than_on_an_idle_machine():
    assert 5 <= hang_limit(5) <= 100


@pytest.mark.skipif(not hasattr(signal, "getitimer"), reason="limits are kept by a thread here")
@pytest.mark.timeout(1000)
def test_the_limit_of_a_test_grows_too(request):
    """It began a moment ago, and how busy the machine is may have changed since."""
    if request.config.getoption("timeout_method", None) == "thread":
        pytest.skip("limits are kept by a thread")
    left, _ = signal.getitimer(signal.ITIMER_REAL)
    assert 990 * min(2.0, hang_limit(1)) / 2 < left <= 20_000
