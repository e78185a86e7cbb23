"""The quick half of `make chaos` and of `make soak`."""

from __future__ import annotations

import pytest

from chaos import run, soak

# What they wait for is counted, not timed; test machines are busy.
pytestmark = pytest.mark.timeout(300)


def test_under_faults_of_every_kind_no_text_is_lost_duplicated_or_wrong():
    result = run.chaos(seconds=8, processes=2, seed=7)
    assert result.zeros == {"lost": 0, "duplicated": 0, "wrong": 0}, run.table(result)
    assert result.tally.right > 0
    assert len(result.faults) >= 4
    assert result.books, "no process ended in an orderly way"


def test_after_many_requests_a_server_holds_what_it_held_before():
    soaked = soak.soak(requests=2000)
    assert soaked.grown == {}, soak.table(soaked)
    assert soaked.counts["wrong"] == 0
    after = soaked.after
    assert after["accepted"] == after["answered"] + after["failed"] + after["abandoned"]
