"""The metrics against closed forms, published anchors, brute force and torch-fidelity."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg

from ganforge.judging import metrics as m


def draw(n, dim, seed=0):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))


# -- Frechet ----------------------------------------------------------------------------
def brute_frechet(a, b):
    """The formula, with a general matrix square root."""
    a, b = a.double().numpy(), b.double().numpy()
    s_a, s_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    gap = a.mean(0) - b.mean(0)
    return gap @ gap + np.trace(s_a + s_b - 2 * linalg.sqrtm(s_a @ s_b).real)


def test_frechet_is_the_formula():
    a, b = draw(400, 12) @ draw(12, 12, 1) + 0.3, draw(500, 12, 2)
    assert m.frechet(a, b).value == pytest.approx(brute_frechet(a, b), rel=1e-6)


def test_frechet_agrees_with_torch_fidelity():
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    a, b = draw(300, 20) * 2, draw(300, 20, 1) + 1
    theirs = fid_statistics_to_metric(
        fid_features_to_statistics(a), fid_features_to_statistics(b), False
    )
    assert m.frechet(a, b).value == pytest.approx(theirs["frechet_inception_distance"], rel=1e-4)


@settings(max_examples=20, deadline=None)
@given(shift=st.floats(-3, 3), scale=st.floats(0.2, 3))
def test_frechet_of_gaussians_has_a_closed_form(shift, scale):
    dim = 4
    x = draw(2000, dim)
    x = (x - x.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(x.T.cov())).T  # exactly N(0, I)
    expected = dim * (shift**2 + (scale - 1) ** 2)
    assert m.frechet(x * scale + shift, x).value == pytest.approx(expected, abs=2e-4)


def test_frechet_survives_a_feature_that_never_varies():
    a, b = draw(300, 10), draw(300, 10, 1)
    a[:, 3] = b[:, 3] = 0
    a[:, 4] = 0
    expected = brute_frechet(a + 1e-9 * draw(300, 10, 2), b + 1e-9 * draw(300, 10, 3))
    assert m.frechet(a, b).value == pytest.approx(expected, rel=1e-3)


def test_frechet_interval_covers_repeated_draws():
    real = draw(2000, 6, 99)
    found = [m.frechet(draw(800, 6, s) * 1.3 + 0.4, real) for s in range(60)]
    values = torch.tensor([f.value for f in found])
    width = torch.tensor([(f.high - f.low) / 2 / 1.96 for f in found])
    assert width.mean().item() == pytest.approx(values.std().item(), rel=0.25)


def test_frechet_at_infinity_takes_the_bias_away():
    real = draw(4000, 40, 7)
    finite, infinite = m.frechet(draw(4000, 40), real), m.frechet_infinity(draw(4000, 40), real)
    assert finite.value > 0.2
    assert abs(infinite.value) < 0.05
    assert infinite.low <= 0 <= infinite.high
    shifted = m.frechet_infinity(draw(4000, 40) + 0.5, real)
    assert shifted.value == pytest.approx(10, rel=0.1)


# -- KID --------------------------------------------------------------------------------
def brute_kid(a, b):
    def kernel(x, y):
        return (x @ y.T / x.shape[1] + 1) ** 3

    a, b = a.double(), b.double()
    aa, bb, n, k = kernel(a, a), kernel(b, b), len(a), len(b)
    return (
        (aa.sum() - aa.trace()) / (n * (n - 1))
        + (bb.sum() - bb.trace()) / (k * (k - 1))
        - 2 * kernel(a, b).mean()
    ).item()


def test_kid_is_the_formula():
    a, b = draw(333, 16) + 0.2, draw(450, 16, 1)
    assert m.kid(a, b).value == pytest.approx(brute_kid(a, b), rel=1e-3)


def test_kid_agrees_with_torch_fidelity():
    from torch_fidelity.metric_kid import kid_features_to_metric

    a, b = draw(500, 16) + 0.5, draw(500, 16, 1)
    theirs = kid_features_to_metric(a, b, kid_subsets=1, kid_subset_size=500)
    assert m.kid(a, b).value == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-3)


def test_kid_at_unit_mean_square_does_not_depend_on_the_scale():
    a, b = draw(300, 16) + 0.5, draw(300, 16, 1)
    found = m.kid(a * 40, b * 40, unit=True)
    assert found.value == pytest.approx(m.kid(a, b, unit=True).value, rel=1e-4)
    assert m.kid(a * 40, b * 40).value > 1000 * found.value


def test_kid_is_unbiased_and_its_interval_covers_zero():
    found = [m.kid(draw(200, 8, s), draw(200, 8, 1000 + s)) for s in range(40)]
    values = torch.tensor([f.value for f in found])
    assert abs(values.mean()) < 3 * values.std() / 40**0.5
    assert sum(f.low <= 0 <= f.high for f in found) >= 32


# -- neighbourhoods ---------------------------------------------------------------------
def brute_neighbourhoods(fake, real, k):
    """As published with the metrics (Naeem et al.), one k for all."""
    rr, ff, rf = torch.cdist(real, real), torch.cdist(fake, fake), torch.cdist(real, fake)
    r_real, r_fake = rr.kthvalue(k + 1).values, ff.kthvalue(k + 1).values
    return {
        "precision": (rf < r_real[:, None]).any(0).float().mean().item(),
        "recall": (rf < r_fake[None]).any(1).float().mean().item(),
        "density": (rf < r_real[:, None]).sum(0).float().mean().item() / k,
        "coverage": (rf.min(1).values < r_real).float().mean().item(),
    }


@pytest.mark.parametrize("shift", [0.0, 0.7, 30.0])
def test_neighbourhoods_are_the_formulas(shift):
    fake, real = draw(700, 10) * 0.8 + shift, draw(600, 10, 1)
    found = m.neighbourhoods(fake, real, 4, 4)
    for name, expected in brute_neighbourhoods(fake, real, 4).items():
        assert found[name].value == pytest.approx(expected, abs=2.1 / 600), name


@pytest.mark.parametrize(("n", "k"), [(500, 5), (1500, 3)])
def test_coverage_of_equal_distributions_is_the_published_expectation(n, k):
    found = m.neighbourhoods(draw(n, 64), draw(n, 64, 1), k, k)
    expected = 1 - math.prod((n - i) / (2 * n - i) for i in range(1, k + 1))
    assert found["coverage"].value == pytest.approx(expected, abs=0.015)
    assert found["density"].value == pytest.approx(1, abs=0.15)
    assert found["coverage"].low <= expected <= found["coverage"].high + 0.01


def test_lost_modes_cost_recall_and_coverage_but_not_precision():
    real = torch.cat([draw(500, 8), draw(500, 8, 1) + 20])
    found = m.neighbourhoods(draw(1000, 8, 2), real)
    assert found["precision"].value > 0.8
    assert found["coverage"].value < 0.55
    assert found["recall"].value < 0.55


def test_radii_of_rows_that_are_equal_are_zero():
    assert m.radii(torch.ones(60, 3), 2).eq(0).all()


# -- inception score --------------------------------------------------------------------
def test_inception_score_agrees_with_torch_fidelity():
    from torch_fidelity.metric_isc import isc_features_to_metric

    logits = draw(1000, 10) * 3
    theirs = isc_features_to_metric(logits, splits=10, shuffle=False)
    ours = m.inception_score(logits.softmax(1))
    assert ours.value == pytest.approx(theirs["inception_score_mean"], rel=1e-5)


def test_inception_score_of_certain_even_classes_is_their_number():
    p = torch.eye(7).repeat(100, 1)
    assert m.inception_score(p).value == pytest.approx(7, rel=1e-3)
    assert m.inception_score(torch.full((200, 7), 1 / 7)).value == pytest.approx(1)


# -- memorisation -----------------------------------------------------------------------
def test_memorisation_is_a_half_for_new_samples_and_one_for_old():
    train, test = draw(500, 12), draw(500, 12, 1)
    assert m.memorisation(draw(500, 12, 2), train, test).value == pytest.approx(0.5, abs=0.07)
    learnt = m.memorisation(train + 0.05 * draw(500, 12, 3), train, test)
    assert learnt.value > 0.99
    part = torch.cat([train[:250], draw(250, 12, 4)])
    assert m.memorisation(part, train, test).value == pytest.approx(0.75, abs=0.06)


def test_copies_names_the_sample_that_was_copied():
    train = draw(400, 30)
    share, index = m.copies(train[100:200] + 0.01 * draw(100, 30, 1), train)
    assert share.value == 1
    assert index.tolist() == list(range(100, 200))
    assert m.copies(draw(400, 30, 2), train)[0].value < 0.02


# -- too few ----------------------------------------------------------------------------
@pytest.mark.parametrize(
    "call",
    [
        lambda: m.frechet(draw(100, 128), draw(1000, 128)),
        lambda: m.frechet(draw(1000, 128), draw(100, 128)),
        lambda: m.frechet_infinity(draw(140, 128), draw(140, 128)),
        lambda: m.kid(draw(20, 4), draw(100, 4)),
        lambda: m.neighbourhoods(draw(100, 4), draw(20, 4)),
        lambda: m.inception_score(torch.full((50, 10), 0.1)),
        lambda: m.memorisation(draw(100, 4), draw(10, 4), draw(100, 4)),
        lambda: m.copies(draw(100, 4), draw(80, 4)),
    ],
)
def test_too_few_samples_give_a_line_and_no_number(call):
    with pytest.raises(m.TooFew, match=r"needs at least \d+ .* there are \d+"):
        call()
