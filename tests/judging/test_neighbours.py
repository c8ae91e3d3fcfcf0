"""The nearest training samples, against a plain search."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ganforge.data import Dataset
from ganforge.errors import UserError
from ganforge.judging.features import raw
from ganforge.judging.neighbours import Neighbours, training_data


def some(n: int = 300, side: int = 8) -> Dataset:
    return Dataset(np.random.default_rng(0).integers(0, 256, (n, side, side, 1), np.uint8))


def test_distances_and_numbers_are_those_of_a_plain_search() -> None:
    data = some()
    x = torch.rand(5, 1, 8, 8) * 2 - 1
    x = x.add(1).mul(127.5).round().div(127.5).sub(1)  # as a file would hold them
    distance, numbers = Neighbours(data).nearest(x, 4)
    real = data.real(np.arange(300))
    plain = (x[:, None] - real[None]).flatten(2).square().mean(2).sqrt()
    want = plain.sort(1)
    assert np.array_equal(numbers, want.indices[:, :4].numpy())
    torch.testing.assert_close(distance, want.values[:, :4], rtol=1e-3, atol=1e-4)


def test_of_many_some_are_searched_and_keep_their_numbers() -> None:
    data = some()
    known = Neighbours(data, raw((1, 8, 8)), most=50, seed=3)
    assert known.searched == 50
    numbers = known.numbers[[7, 20]]
    distance, found = known.nearest(data.real(numbers), 1)
    assert found[:, 0].tolist() == numbers.tolist()
    assert distance.max() == 0
    assert known.nearest(data.real(numbers), 99)[1].shape == (2, 50), "no more than there are"
    rows = known.table(distance[0], found[0])
    assert rows == [{"number": int(numbers[0]), "distance": 0.0, "class": None}]
    side_by_side = known.beside(data.real(numbers), found)
    assert torch.equal(side_by_side[0], side_by_side[1])


def test_an_array_is_not_kept() -> None:
    with pytest.raises(UserError, match="trained on an array"):
        training_data({"data": "array:0123"})
