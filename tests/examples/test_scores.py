import pytest
from scores import largest_difference, measure, rank_of, same_order

RANKING = {"a": 0.9, "b": 0.5, "c": 0.4, "d": 0.1}


def test_the_first_of_several_answers_counts():
    assert rank_of(RANKING, ["d", "b"]) == 2


def test_quality_by_hand():
    """Ranks 1, 3 and 4."""
    quality = measure([RANKING] * 3, [["a"], ["c"], ["d"]])
    assert quality.top1 == pytest.approx(1 / 3)
    assert quality.top3 == pytest.approx(2 / 3)
    assert quality.mrr == pytest.approx((1 + 1 / 3 + 1 / 4) / 3)


def test_ties_may_come_in_any_order():
    """Two articles closer than the tolerance can change places, others cannot."""
    tied = {"a": 0.9, "c": 0.450001, "b": 0.45, "d": 0.1}
    assert same_order(tied, tied | {"b": 0.450002}, 1e-5)
    assert not same_order(RANKING, RANKING | {"c": 0.6}, 1e-5)


def test_the_largest_difference_decides():
    assert largest_difference(RANKING, RANKING) == 0
    assert largest_difference(RANKING, RANKING | {"b": 0.52}) == pytest.approx(0.02)


def test_other_articles_never_agree():
    assert largest_difference(RANKING, {"a": 0.9}) == float("inf")
