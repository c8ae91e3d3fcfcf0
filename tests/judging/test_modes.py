import math

import numpy as np
import pytest

from ganforge.judging.modes import count_labels, count_modes, grid, kl_floor, ring


@pytest.mark.parametrize("truth", [ring(), grid()], ids=["ring", "grid"])
def test_the_truth_reaches_its_ceiling(truth):
    """A perfect sampler: every mode, 1 - exp(-4.5) of high quality, KL at its floor."""
    scores = [count_modes(truth.draw(2500, seed), truth) for seed in range(20)]
    assert all(s["modes"] == s["total"] == len(truth.centres) for s in scores)
    assert np.mean([s["high_quality"] for s in scores]) == pytest.approx(0.98889, abs=2e-3)
    floor = kl_floor(len(truth.centres), 2500)
    assert np.mean([s["kl"] for s in scores]) == pytest.approx(floor, rel=0.35)


@pytest.mark.parametrize("truth", [ring(), grid()], ids=["ring", "grid"])
def test_a_uniform_cloud_fails(truth):
    reach = abs(truth.centres).max() * 1.2
    cloud = np.random.default_rng(0).uniform(-reach, reach, (2500, 2))
    assert count_modes(cloud, truth)["high_quality"] < 0.2


def test_one_mode_is_one_mode():
    truth = ring()
    x = truth.centres[:1] + 0.001 * np.random.default_rng(0).standard_normal((100, 2))
    s = count_modes(x, truth)
    assert s["modes"] == 1
    assert s["kl"] == pytest.approx(math.log(8))
    assert math.isnan(count_modes(x + 9, truth)["kl"])


def test_labels():
    even = count_labels(np.arange(10).repeat(10), 10)
    assert even["modes"] == 10
    assert even["kl"] == pytest.approx(0)
    lost = count_labels(np.zeros(50, int), 10)
    assert lost["modes"] == 1
    assert lost["kl"] == pytest.approx(math.log(10))
