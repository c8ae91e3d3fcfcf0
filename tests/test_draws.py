import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ganforge import draws


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(-(2**62), 2**62),
    n=st.integers(1, 40),
    cut=st.integers(0, 40),
    start=st.integers(0, 2**40),
    width=st.integers(1, 9),
)
def test_rows_depend_on_their_sample_only(seed, n, cut, start, width):
    """However a batch is split over processes, each sample draws the same numbers."""
    cut = min(cut, n)
    index = torch.arange(start, start + n)
    with draws.keyed(seed, "x", index):
        whole = draws.normal(n, width), draws.uniform(n, width), draws.integers(n, 7)
    parts = []
    for part in (index[:cut], index[cut:]):
        if len(part):
            with draws.keyed(seed, "x", part):
                k = len(part)
                parts.append(
                    (draws.normal(k, width), draws.uniform(k, width), draws.integers(k, 7))
                )
    for a, b in zip(whole, zip(*parts, strict=True), strict=True):
        assert torch.equal(a, torch.cat(b))


def test_distributions():
    n = 20_000
    with draws.keyed(3, "shape", torch.arange(n)):
        z, u, k = draws.normal(n, 4), draws.uniform(n, 5), draws.integers(n, 10)
    assert abs(z.mean()) < 0.02
    assert abs(z.std() - 1) < 0.02
    assert abs((z**4).mean() - 3) < 0.15
    assert abs(torch.corrcoef(z.T) - torch.eye(4)).max() < 0.03
    assert 0 <= u.min() < 1e-3
    assert 1 - 1e-3 < u.max() < 1
    assert abs(u.var() - 1 / 12) < 1e-3
    counts = torch.bincount(k, minlength=10)
    assert ((counts - n / 10) ** 2 / (n / 10)).sum() < 30  # chi-squared, 9 degrees: p < 5e-4
    lag = torch.corrcoef(torch.stack([z[:-1, 0], z[1:, 0]]))[0, 1]
    assert abs(lag) < 0.03


def test_seed_purpose_and_call_matter():
    index = torch.arange(8)
    seen = []
    for seed, purpose in ((0, "a"), (1, "a"), (0, "b")):
        with draws.keyed(seed, purpose, index):
            seen += [draws.normal(8, 3), draws.normal(8, 3)]
    for i, a in enumerate(seen):
        assert all(not torch.equal(a, b) for b in seen[:i])


def test_copies_of_a_batch_differ():
    with draws.keyed(0, "a", torch.arange(4)):
        both = draws.normal(8, 3)
    assert not torch.equal(both[:4], both[4:])
    with draws.keyed(0, "a", torch.arange(4)), pytest.raises(ValueError, match="multiple"):
        draws.normal(5, 3)


def test_values_are_stable_between_versions():
    """A run made today must resume tomorrow: these numbers are a file format."""
    with draws.keyed(0, "x", torch.arange(2)):
        z = draws.normal(2, 2)
    expected = torch.tensor(draws_reference(0, "x", [0, 1], 2), dtype=torch.float32).view(2, 2)
    assert torch.allclose(z, expected, atol=1e-5)


def draws_reference(seed, purpose, indices, width):
    """The same hash in Python's own integers."""
    mask = 2**64 - 1

    def mix(x):
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
        return x ^ (x >> 31)

    golden, salt = 0x9E3779B97F4A7C15, draws.key(seed, purpose, 1, 0) & mask
    out = []
    for i in indices:
        row = mix((mix((i * golden + salt) & mask) + salt) & mask)
        half = (width + 1) // 2
        words = [mix((row + (j + 1) * golden) & mask) for j in range(half)]
        units = [w >> 40 for w in words] + [(w >> 8) & (2**24 - 1) for w in words]
        u = [v * 2.0**-24 for v in units]
        a = [math.sqrt(-2 * math.log1p(-u[j])) for j in range(half)]
        b = [2 * math.pi * u[half + j] for j in range(half)]
        out += ([r * math.cos(t) for r, t in zip(a, b, strict=True)]
                + [r * math.sin(t) for r, t in zip(a, b, strict=True)])[:width]  # fmt: skip
    return out
