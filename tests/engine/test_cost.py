"""What work costs."""

from __future__ import annotations

import pytest

from qwire_server.engine.queue.cost import CostModel, calibrate
from qwire_server.engine.queue.estimator import Estimator


def device(fixed: float, per_token: float, per_square: float, runs: list[list[int]]):
    """A device that takes exactly so many microseconds."""

    def run(lengths: list[int]) -> float:
        runs.append(lengths)
        squares = sum(n * n for n in lengths)
        return (fixed + per_token * sum(lengths) + per_square * squares) / 1e6

    return run


@pytest.mark.parametrize(
    ("fixed", "per_token", "per_square"),
    [(2000, 2.5, 0.0002), (5000, 220, 0.05), (0, 100, 0), (8000, 2, 0)],
)
def test_the_three_figures_of_a_device_are_found(fixed: float, per_token: float, per_square: float):
    found = calibrate(device(fixed, per_token, per_square, []), longest=8192)
    assert found.fixed == pytest.approx(fixed, rel=0.01, abs=1)
    assert found.per_token == pytest.approx(per_token, rel=0.01)
    assert found.per_square == pytest.approx(per_square, rel=0.01, abs=1e-6)


def test_a_slow_device_is_measured_with_short_forwards():
    runs: list[list[int]] = []
    calibrate(device(0, 10_000, 0, runs), longest=32_768)
    assert max(sum(lengths) for lengths in runs) == 64


@pytest.mark.parametrize("longest", [3, 8, 63, 64, 100, 512])
def test_any_length_can_be_the_longest(longest: int):
    found = calibrate(device(100, 10, 0.01, runs := []), longest=longest)
    assert found.per_token > 0
    assert max(max(lengths) for lengths in runs) <= max(longest, 8)


def test_attention_makes_a_long_text_dearer_than_its_tokens_in_short_ones():
    cost = CostModel(fixed=1000, per_token=1, per_square=0.001)
    assert cost.text(1000) == 2000
    assert sum(cost.text(10) for _ in range(100)) == 1000


def estimate(cost: CostModel, lengths: list[int]) -> float:
    return cost.forward() + sum(cost.text(n) for n in lengths)


def test_estimates_follow_what_forwards_take():
    cost = CostModel(fixed=100, per_token=1)
    for _ in range(100):
        cost.learn([50, 50], 600)
    assert estimate(cost, [50, 50]) == pytest.approx(600, rel=0.01)
    for _ in range(100):
        cost.learn([50, 50], 600)
    assert cost.accuracy == pytest.approx(1, rel=0.01)


def test_forwards_of_many_kinds_tell_the_figures_apart():
    """Each began ten times too high or too low."""
    true = device(2_000, 10, 0.02, [])
    cost = CostModel(fixed=200, per_token=100, per_square=0.2)
    kinds = [[16], [16] * 64, [512], [64] * 16, [1024, 16], [128] * 4]
    for _ in range(300):
        for lengths in kinds:
            cost.learn(lengths, round(true(lengths) * 1e6))
    for lengths in kinds:
        assert estimate(cost, lengths) == pytest.approx(true(lengths) * 1e6, rel=0.05)


def test_one_stalled_forward_moves_an_estimate_only_a_little():
    cost = CostModel(per_token=1)
    cost.learn([100], 100_000_000)
    assert cost.text(100) < 150


def test_noise_does_not_make_a_long_text_absurdly_dear():
    """The long forward was stalled each time it was measured."""
    calm = device(2_000, 10, 0, [])
    found = calibrate(lambda n: calm(n) * (50 if n == [4096] else 1), longest=4096)
    assert estimate(found, [4096]) <= 20 * calm([4096]) * 1e6


def test_tokens_are_estimated_from_bytes_at_a_ratio_that_is_learned():
    estimator = Estimator(10_000)
    assert estimator.tokens("x" * 400) == 202
    for _ in range(40):
        estimator.learn(["中" * 100], tokens=75)
    assert estimator.tokens("x" * 400) == pytest.approx(102, abs=1)


def test_an_estimate_never_exceeds_what_the_model_takes():
    assert Estimator(512).tokens("x" * 10**6) == 512


def test_what_texts_save_is_learned_and_estimates_stay_right():
    """Of each text 25 tokens are computed before: first for nobody, then for all."""
    cost = CostModel(fixed=1000, per_token=200, per_square=0.05)
    lengths, prefix = [35] * 20, 25

    def true(saved: int) -> int:
        computed = [n - saved for n in lengths]
        squares = sum(c * n for c, n in zip(computed, lengths, strict=True))
        return round(1000 + 200 * sum(computed) + 0.05 * squares)

    def estimated() -> int:
        return cost.forward() + sum(cost.text(n, prefix) for n in lengths)

    assert estimated() == pytest.approx(true(0), rel=0.01), "cautious until it is seen"
    for _ in range(100):
        cost.learn(lengths, true(prefix), [prefix] * 20)
        cost.learn_reuse(prefix * 20, prefix * 20)
    assert estimated() == pytest.approx(true(prefix), rel=0.01)
    assert estimate(cost, lengths) == pytest.approx(true(0), rel=0.01), "of texts without a prefix"
    assert cost.accuracy == pytest.approx(1, rel=0.01)


def test_prefixes_that_are_not_used_cost_what_they_are():
    """Half the texts have the other instruction, and a batch uses one."""
    cost = CostModel(per_token=100)
    for _ in range(100):
        cost.learn_reuse(prefixes=1000, saved=500)
    assert cost.text(30, prefix=20) == pytest.approx(2000, rel=0.01)
    for _ in range(100):
        cost.learn_reuse(prefixes=1000, saved=0)
    assert cost.text(30, prefix=20) == pytest.approx(3000, rel=0.01)


def test_texts_without_a_prefix_teach_nothing_about_reuse():
    cost = CostModel(reuse=0.7)
    cost.learn_reuse(prefixes=0, saved=0)
    assert cost.reuse == 0.7


class TestRecovery:
    """The speed measured at start was wrong, by how much and in whichever direction."""

    @staticmethod
    def learned(start: float, true: float, forwards: int) -> float:
        """Estimated by true time of a forward, after so many forwards."""
        cost = CostModel(fixed=start, per_token=start / 10)
        for _ in range(forwards):
            cost.learn([64] * 8, round(true + true / 10 * 64 * 8))
        return (cost.forward() + 8 * cost.text(64)) / (true + true / 10 * 64 * 8)

    def test_a_start_ten_times_too_slow_is_forgotten_within_eight_batches(self):
        assert self.learned(1000, 100, 8) < 1.5

    def test_a_start_ten_times_too_fast_is_corrected_within_sixteen_batches(self):
        assert self.learned(100, 1000, 16) > 1 / 1.5

    def test_one_batch_that_was_disturbed_does_not_spoil_the_estimate(self):
        cost = CostModel(fixed=1000, per_token=100)
        cost.learn([64] * 8, 50 * (1000 + 100 * 64 * 8))
        assert cost.forward() + 8 * cost.text(64) < 1.4 * (1000 + 100 * 64 * 8)


def test_the_first_texts_say_how_many_bytes_a_token_has():
    estimator = Estimator(max_tokens=512)
    text = "a" * 400
    assert estimator.tokens(text) == 202, "cautious, before anything is known"
    estimator.learn([text], tokens=100)
    assert estimator.tokens(text) == 102
