"""Arrays as sources: layouts, values, labels."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ganforge.data import Dataset, open_source
from ganforge.errors import UserError


def everything(dataset: Dataset) -> torch.Tensor:
    return dataset.batch(np.arange(len(dataset))).real


def numbers(*shape: int, dtype: type = np.uint8, high: int = 256) -> np.ndarray:
    return np.random.default_rng(0).integers(0, high, shape).astype(dtype)


# -- layout ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("shape", "layout", "result"),
    [
        ((5, 20, 30), None, (1, 20, 30)),
        ((5, 20, 30, 3), None, (3, 20, 30)),
        ((5, 3, 20, 30), None, (3, 20, 30)),
        ((5, 1, 20, 20), None, (1, 20, 20)),
        ((5, 20, 20, 16), None, (16, 20, 20)),
        ((5, 3, 16, 16), None, (3, 16, 16)),
        ((5, 12, 12, 1), None, (1, 12, 12)),
        ((5, 8, 8, 8), "NCHW", (8, 8, 8)),
        ((5, 2, 8, 2), "NHWC", (2, 2, 8)),
        ((20, 20, 3), "nhw", (1, 20, 3)),
        ((5, 100), "NT", (1, 100)),
        ((5, 100, 2), "NTC", (2, 100)),
        ((5, 2, 100), "NCT", (2, 100)),
    ],
)
def test_layouts(shape: tuple[int, ...], layout: str | None, result: tuple[int, ...]) -> None:
    x = numbers(*shape)
    dataset = open_source(x, layout=layout)
    assert dataset.shape == result
    real = everything(dataset)
    assert real.shape == (shape[0], *result)
    channels_first = {"NHWC": (0, 3, 1, 2), "NTC": (0, 2, 1)}
    axes = (layout or ("NHWC" if len(shape) == 4 and shape[3] == result[0] else "")).upper()
    expected = x.transpose(channels_first.get(axes, range(x.ndim))).reshape(real.shape)
    assert np.array_equal(((real.numpy() + 1) * 127.5).round(), expected)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((5, 3, 8, 3), "not clear"),
        ((5, 8, 8, 8), "not clear"),
        ((5, 20, 20, 20), "not clear"),
        ((5, 2, 3, 4, 5), "not clear"),
        ((5, 40), "not clear"),
        ((200, 300, 3), "looks like one picture"),
        ((0, 8, 8), "holds no samples"),
        ((7,), "holds no samples"),
    ],
)
def test_shapes_that_do_not_say_enough(shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(UserError, match=words) as e:
        open_source(numbers(*shape))
    assert "\n" not in str(e.value)


def test_layouts_that_do_not_fit() -> None:
    with pytest.raises(UserError, match="choose one of"):
        open_source(numbers(4, 8, 8), layout="NWH")
    with pytest.raises(UserError, match="does not fit"):
        open_source(numbers(4, 8, 8), layout="NHWC")
    with pytest.raises(UserError, match="20 channels"):
        open_source(numbers(4, 8, 8, 20), layout="NHWC")


# -- values ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("dtype", "low", "high", "stored"),
    [
        (np.uint8, 0, 255, np.uint8),
        (np.int8, -128, 127, np.uint8),
        (np.uint16, 0, 65535, np.uint16),
        (np.int16, -32768, 32767, np.uint16),
        (bool, 0, 1, np.uint8),
    ],
)
def test_small_integers_mean_their_types_range(dtype, low: int, high: int, stored: type) -> None:
    x = np.zeros((3, 8, 8), dtype)
    x[0], x[1] = low, high
    dataset = open_source(x)
    real = everything(dataset)
    assert dataset.images.dtype == stored
    assert (real[0] == -1).all()
    assert (real[1] == 1).all()


def test_sixteen_bits_are_kept() -> None:
    x = np.arange(4 * 128 * 128, dtype=np.uint16).reshape(4, 128, 128)
    real = everything(open_source(x)).double()
    assert np.array_equal(((real + 1) * 32767.5).round().numpy().ravel(), x.ravel())


def test_sound_stays_signed() -> None:
    x = np.array([[-32768, 0, 16384, 32767]], np.int16)
    dataset = open_source(x, layout="NT")
    assert dataset.images.dtype == np.int16
    assert everything(dataset).tolist() == [[[-1.0, 0.0, 0.5, 32767 / 32768]]]


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32])
def test_large_integers_need_a_range(dtype: type) -> None:
    x = numbers(4, 8, 8, dtype=dtype)
    with pytest.raises(UserError, match="--range 0,255"):
        open_source(x)
    dataset = open_source(x, range="0,255")
    assert dataset.images.dtype == np.uint8
    assert np.array_equal(dataset.images[..., 0], x)


def test_floats_in_the_unit_range_or_symmetric() -> None:
    x = numbers(4, 8, 8).astype(np.float32) / 255
    unit, symmetric = open_source(x), open_source(x * 2 - 1)
    assert unit.images.dtype == np.uint8  # 8 bits hold them
    assert torch.allclose(everything(unit)[:, 0], torch.from_numpy(x * 2 - 1), atol=1e-6)
    assert torch.equal(everything(unit), everything(symmetric))


def test_floats_that_8_bits_do_not_hold_get_16() -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (4, 8, 8))
    dataset = open_source(x)
    assert dataset.images.dtype == np.uint16
    assert np.abs(everything(dataset)[:, 0].numpy() - x).max() < 2 / 65535


def test_other_floats_need_a_range() -> None:
    x = np.random.default_rng(0).uniform(0, 7, (4, 8, 8)).astype(np.float32)
    with pytest.raises(UserError, match="--range LOW,HIGH"):
        open_source(x)
    real = everything(open_source(x, range=(0, 7)))
    assert np.abs((real[:, 0].numpy() + 1) * 3.5 - x).max() < 1e-3
    with pytest.raises(UserError, match="outside --range"):
        open_source(x, range=(0, 5))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(4, 8, 8), (6, 2)])
def test_floats_that_are_no_numbers(bad: float, shape: tuple[int, ...]) -> None:
    x = np.zeros(shape, np.float32)
    x[-1, -1] = bad
    with pytest.raises(UserError, match="NaN or infinity"):
        open_source(x)


@pytest.mark.parametrize("value", ["7", "5,1", "a,b", (1, 2, 3), "0,inf", "nan,1"])
def test_ranges_that_are_none(value: object) -> None:
    with pytest.raises(UserError, match="--range"):
        open_source(numbers(4, 8, 8), range=value)  # type: ignore[arg-type]


def test_vectors_stay_as_they_are() -> None:
    x = torch.randn(50, 2) * 10
    dataset = open_source((x, torch.arange(50) % 3))
    batch = dataset.batch(np.array([7, 3]))
    assert dataset.shape == (2,)
    assert torch.equal(batch.real, x[[7, 3]])
    assert batch.label is not None
    assert batch.label.tolist() == [1, 0]


# -- channels and size ----------------------------------------------------------------------
def test_channels_as_asked() -> None:
    grey, rgb = numbers(3, 8, 8), numbers(3, 8, 8, 3)
    assert np.array_equal(open_source(grey, channels=3).images, np.repeat(grey[..., None], 3, -1))
    luminance = rgb @ np.array([0.299, 0.587, 0.114])
    assert np.abs(open_source(rgb, channels=1).images[..., 0] - luminance).max() <= 0.51
    with pytest.raises(UserError, match="cannot be brought"):
        open_source(numbers(3, 8, 8, 5), channels=3, layout="NHWC")
    with pytest.raises(UserError, match="channels 40"):
        open_source(grey, channels=40)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_size_as_asked(dtype: type, channels: int) -> None:
    top = np.iinfo(dtype).max
    x = np.full((2, 20, 30, channels), top // 2, dtype)
    x[:, :, :5] = 0  # what the crop cuts off, but for what the filter sees of it
    dataset = open_source(x, size="10x10", layout="NHWC")
    assert dataset.shape == (channels, 10, 10)
    assert np.abs(dataset.images[:, :, 3:].astype(int) - top // 2).max() <= 1
    with pytest.raises(UserError, match="no pictures"):
        open_source(torch.randn(10, 2), size=8)


# -- labels ---------------------------------------------------------------------------------
def test_labels_of_every_shape() -> None:
    x, y = numbers(4, 8, 8), np.array([2, 0, 1, 2])
    for labels in (y, torch.from_numpy(y), y[:, None], np.eye(3)[y], y.astype(np.float32)):
        dataset = open_source((x, labels))
        assert dataset.classes == ["0", "1", "2"]
        label = dataset.batch(np.arange(4)).label
        assert label is not None
        assert label.dtype == torch.int64
        assert label.tolist() == y.tolist()


@pytest.mark.parametrize(
    "labels",
    [[0, 1, 2], [0, 1, 2, -1], [0.5, 1, 2, 3], [[0, 1], [1, 1], [0, 1], [1, 0]], [0, 1, 2, 10**7]],
)
def test_labels_that_do_not_fit(labels: list) -> None:
    with pytest.raises(UserError, match="label"):
        open_source((numbers(4, 8, 8), np.array(labels)))


# -- what is given --------------------------------------------------------------------------
@pytest.mark.parametrize("source", [None, 7, {}, object(), np.array(["a"]), [[1, 2], [3]]])
def test_what_is_no_array(source: object) -> None:
    with pytest.raises(UserError, match="a source is"):
        open_source(source)


def test_tensors_of_every_kind() -> None:
    x = torch.rand(4, 3, 20, 20, requires_grad=True)
    for tensor in (x, x.half(), x.bfloat16(), x.transpose(2, 3), x[::2]):
        dataset = open_source(tensor)
        assert dataset.shape == (3, 20, 20)
        assert torch.allclose(everything(dataset), tensor.detach().float() * 2 - 1, atol=1e-4)


def test_a_batch_can_be_written_to_and_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = open_source(numbers(4, 8, 8, 3))
        first = dataset.batch(np.arange(2)).real
        first.zero_()
        assert dataset.batch(np.arange(2)).real.abs().sum() > 0
    assert first.is_contiguous(memory_format=torch.channels_last)


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 5),
    h=st.integers(5, 20),
    w=st.integers(5, 20),
    c=st.integers(1, 16),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    index=st.lists(st.integers(0, 4), max_size=6),
)
def test_a_batch_is_exactly_the_rows(n, h, w, c, dtype, index) -> None:
    x = numbers(n, h, w, c, dtype=dtype, high=np.iinfo(dtype).max + 1)
    dataset = open_source(x, layout="NHWC")
    rows = np.array([i % n for i in index], np.int64)
    real = dataset.batch(rows).real
    half = np.iinfo(dtype).max / 2
    expected = (x[rows].astype(np.float32) / np.float32(half) - 1).transpose(0, 3, 1, 2)
    assert real.shape == (len(rows), c, h, w)
    assert np.array_equal(real.numpy(), expected)


def test_the_same_array_has_the_same_fingerprint() -> None:
    x = numbers(4, 8, 8)
    a, b, c = open_source(x), open_source(x.copy()), open_source(x + 1)
    assert a.fingerprint == b.fingerprint != c.fingerprint
    assert a.describe() == {
        "name": "array",
        "split": "train",
        "count": 4,
        "shape": [1, 8, 8],
        "classes": [],
        "fingerprint": a.fingerprint,
    }
