"""The endless shuffled stream."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganforge.data import Shuffle


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 3000), seed=st.integers(-(2**63), 2**64), epoch=st.integers(0, 10**6))
def test_every_sample_once_an_epoch(n: int, seed: int, epoch: int) -> None:
    order = Shuffle(n, seed).at(epoch * n, n)
    assert order.dtype == np.int64
    assert np.array_equal(np.sort(order), np.arange(n))


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 500), start=st.integers(0, 5000), cut=st.integers(0, 100))
def test_a_pure_function_of_the_position(n: int, start: int, cut: int) -> None:
    whole = Shuffle(n, 7).at(start, 100)
    parts = [Shuffle(n, 7).at(start, cut), Shuffle(n, 7).at(start + cut, 100 - cut)]
    assert np.array_equal(whole, np.concatenate(parts))


def test_each_epoch_and_each_seed_has_its_own_order() -> None:
    epochs = {tuple(Shuffle(20, 0).at(20 * e, 20)) for e in range(50)}
    seeds = {tuple(Shuffle(20, s).at(0, 20)) for s in range(50)}
    assert len(epochs) == len(seeds) == 50


def test_all_orders_are_about_equally_likely() -> None:
    shuffle = Shuffle(4, 0)
    counts = Counter(tuple(shuffle.at(4 * e, 4)) for e in range(4800))
    assert len(counts) == 24
    chi = sum((c - 200) ** 2 / 200 for c in counts.values())
    assert chi < 49.7  # 23 degrees of freedom, p = .001


def test_neighbours_are_not_kept() -> None:
    order = Shuffle(60_000, 1).at(0, 60_000)
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.02
    assert abs(np.corrcoef(order, np.arange(60_000))[0, 1]) < 0.02


def test_many_samples_cost_no_memory() -> None:
    order = Shuffle(10**12, 0).at(3 * 10**12 - 5, 10)
    assert order.max() < 10**12
    assert len(set(order.tolist())) == 10


def test_the_order_never_changes_between_versions() -> None:
    """Runs that were begun are resumed in the order they were begun in."""
    assert Shuffle(10, 0).at(0, 20).tolist() == [
        9, 4, 2, 7, 8, 6, 3, 0, 5, 1,
        7, 2, 6, 5, 4, 0, 1, 9, 8, 3,
    ]  # fmt: skip


def test_nothing_cannot_be_shuffled() -> None:
    with pytest.raises(ValueError, match="0 samples"):
        Shuffle(0)
