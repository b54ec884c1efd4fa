"""Intervals and means."""

import numpy as np
import pytest

from keras_leoclr.evaluation import statistics
from keras_leoclr.evaluation.statistics import paired_bootstrap

pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize(("hits", "count", "low", "high"), [(81, 263, 0.2553, 0.3662), (0, 20, 0.0, 0.1611)])
def test_wilson_interval_of_newcombe(hits, count, low, high):
    # Newcombe (1998), Statistics in Medicine 17:857, table I: 81 / 263 and 0 / 20, method 3
    assert statistics.wilson(hits, count) == pytest.approx((low, high), abs=5e-5)


def test_intervals_hold_the_truth_nineteen_times_of_twenty():
    rng = np.random.default_rng(0)
    drawn = rng.binomial(200, 0.9, 4000)
    held = [low <= 0.9 <= high for low, high in (statistics.wilson(int(h), 200) for h in drawn)]
    assert np.mean(held) == pytest.approx(0.95, abs=0.015)
    labels = np.repeat([0, 1, 2], [20, 50, 200])
    truth = np.array([0.9, 0.5, 0.7])
    held = []
    for _ in range(2000):
        _, (low, high) = statistics.mean_per_class(rng.random(270) < truth[labels], labels)
        held.append(low <= truth.mean() <= high)
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)


def test_mean_of_runs_follows_student():
    from scipy import stats

    for values in ([0.4, 0.5], [0.1, 0.2, 0.4, 0.3], list(np.linspace(0.3, 0.6, 15))):
        mean, std, (low, high) = statistics.mean_of_runs(values)
        expected = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
        expected = np.clip(expected, 0, 1)
        assert (low, high) == pytest.approx(tuple(expected), abs=1e-9)
        assert (mean, std) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    assert statistics.mean_of_runs([0.5]) == (0.5, 0.0, None)


def test_paired_bootstrap_agrees_with_drawing_the_images():
    rng = np.random.default_rng(0)
    hits = rng.random(400) < 0.7
    others = np.where(rng.random(400) < 0.9, hits, ~hits)
    rows = rng.integers(0, 400, (4000, 400))
    slow = np.percentile(others[rows].mean(1) - hits[rows].mean(1), [2.5, 97.5])
    assert paired_bootstrap(hits, others) == pytest.approx(tuple(slow), abs=4e-3)
