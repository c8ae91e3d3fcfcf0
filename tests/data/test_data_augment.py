"""Differentiable augmentation: what it does, its gradients, its draws."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ganforge import draws
from ganforge.data.augment import KINDS, Augment, Augmented, _Move
from ganforge.errors import UserError

SHAPES = [(6, 1, 16, 16), (6, 3, 16, 12), (6, 4, 8, 8), (6, 2, 64), (6, 5)]


def changed(kinds: str, x: torch.Tensor, seed: int = 0, p: float = 1.0) -> torch.Tensor:
    with draws.keyed(seed, "test", torch.arange(len(x))):
        return Augment(kinds, p)(x)


def samples(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_shape_and_type_are_kept(kind: str, shape: tuple[int, ...]) -> None:
    x = samples(*shape)
    y = changed(kind, x)
    assert y.shape == x.shape
    assert y.dtype == x.dtype
    assert torch.isfinite(y).all()


def test_p_zero_changes_nothing() -> None:
    x = samples(8, 3, 16, 16)
    assert torch.allclose(changed(",".join(KINDS), x, p=0.0), x, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_p_is_the_share_of_changed_samples(kind: str) -> None:
    x = samples(2000, 1, 8, 8)
    share = (changed(kind, x, p=0.3) - x).flatten(1).abs().amax(1).gt(1e-5).float().mean().item()
    # A flip is on for half; of 3 x 3 moves and of the cuts a few leave the sample as it is.
    assert share == pytest.approx(
        {"flip": 0.15, "translation": 0.3 * 8 / 9}.get(kind, 0.3), abs=0.04
    )


def test_a_sample_draws_the_same_in_any_batch() -> None:
    x = samples(8, 3, 16, 16)
    whole = changed(",".join(KINDS), x)
    augment = Augment(",".join(KINDS))
    with draws.keyed(0, "test", torch.arange(4, 8)):
        part = augment(x[4:])
    assert torch.equal(whole[4:], part)


def test_translation_moves_by_at_most_an_eighth_and_brings_zeros() -> None:
    x = torch.ones(500, 1, 16, 16)
    y = changed("translation", x)[:, 0]
    filled_rows, filled_columns = y.amax(2).sum(1), y.amax(1).sum(1)
    assert filled_rows.min() == 14
    assert filled_rows.max() == 16
    assert torch.equal(y.sum((1, 2)), filled_rows * filled_columns)


def test_translation_moves_pixels_as_they_are() -> None:
    x = samples(1, 2, 8, 8)
    y = _Move.apply(x, torch.tensor([[2, -3]]))
    assert torch.equal(y[:, :, 2:, :5], x[:, :, :6, 3:])
    assert y[:, :, :2].abs().sum() + y[:, :, :, 5:].abs().sum() == 0


def test_cutout_makes_a_box_of_half_the_side_zero() -> None:
    y = changed("cutout", torch.ones(500, 2, 16, 16))
    lost = (y == 0).all(1).flatten(1).sum(1)
    assert lost.max() == 64
    assert lost.min() >= 16  # a quarter of the box stays inside at the corners


def test_flip_is_of_columns() -> None:
    x = samples(400, 1, 4, 6)
    y = changed("flip", x)
    flipped = (y == x.flip(-1)).flatten(1).all(1)
    assert ((y == x).flatten(1).all(1) ^ flipped).all()
    assert 150 < flipped.sum() < 250


@pytest.mark.parametrize("shape", [(5, 1, 16, 16), (5, 3, 9, 14), (5, 2, 1, 6)])
def test_affine_is_a_linear_map_of_the_plane(shape: tuple[int, ...]) -> None:
    """Against PyTorch's own sampling of a picture, whose second derivative it lacks."""
    x = samples(*shape)
    with draws.keyed(0, "test", torch.arange(5)):
        draws.uniform(5, 1)
        u = 2 * draws.uniform(5, 6) - 1
    turn = u[:, 0] * torch.pi / 6
    wide, tall = (u[:, 1] / 4).exp(), (u[:, 2] / 4).exp()
    row0 = torch.stack([turn.cos() * wide, 0.3 * u[:, 3] - turn.sin() * tall, 0.15 * u[:, 4]], 1)
    row1 = torch.stack([turn.sin() * wide, turn.cos() * tall, 0.15 * u[:, 5]], 1)
    grid = F.affine_grid(torch.stack([row0, row1], 1), list(shape), align_corners=False)
    expected = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    assert torch.allclose(changed("affine", x), expected, atol=1e-4)


def test_noise_has_a_quarter_of_the_range() -> None:
    y = changed("noise", torch.zeros(500, 2, 8, 8))
    assert y.std().item() == pytest.approx(0.5, abs=0.01)
    assert y.mean().item() == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_color_is_brightness_then_saturation_then_contrast(channels: int) -> None:
    """Against the paper's three functions, one after another."""
    x = samples(7, channels, 6, 6)
    with draws.keyed(0, "test", torch.arange(7)):
        draws.uniform(7, 1)
        u = draws.uniform(7, 3)[:, :, None, None, None]
    y = x + (u[:, 0] - 0.5)
    if channels == 3:
        mean = y.mean(1, keepdim=True)
        y = (y - mean) * (u[:, 1] * 2) + mean
    mean = y.mean((1, 2, 3), keepdim=True)
    y = (y - mean) * (u[:, 2] + 0.5) + mean
    assert torch.allclose(changed("color", x), y, atol=1e-5)


def test_color_of_grey_pictures_is_affine() -> None:
    x = samples(5, 1, 8, 8)
    y = changed("color", x)
    for a, b in zip(x.flatten(1), y.flatten(1), strict=True):
        slope = ((a - a.mean()) * (b - b.mean())).sum() / (a - a.mean()).square().sum()
        assert 0.5 <= slope <= 1.5
        assert torch.allclose(b, slope * (a - a.mean()) + b.mean(), atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 1, 5, 4), (2, 3, 4, 4), (2, 2, 8)])
def test_first_and_second_derivatives(shape: tuple[int, ...]) -> None:
    augment = Augment(",".join(KINDS))

    def through(x: torch.Tensor) -> torch.Tensor:
        with draws.keyed(3, "test", torch.arange(len(x))):
            return augment(x).pow(3)

    x = samples(*shape).double().requires_grad_()
    assert torch.autograd.gradcheck(through, x)
    assert torch.autograd.gradgradcheck(through, x)


def test_a_gradient_penalty_reaches_the_critic_through_it() -> None:
    critic = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 1))
    wrapped = Augmented(critic, Augment("color,translation,cutout,flip"))
    x = samples(4, 1, 8, 8).requires_grad_()
    (g,) = torch.autograd.grad(wrapped(x).sum(), x, create_graph=True)
    g.flatten(1).square().sum(1).mean().backward()
    assert critic[1].weight.grad is not None
    assert critic[1].weight.grad.abs().sum() > 0


def test_channels_last_memory_is_kept() -> None:
    x = samples(4, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    y = changed(",".join(KINDS), x)
    assert y.is_contiguous(memory_format=torch.channels_last)


class Judge(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(4, 1)
        self.depth = 7

    def forward(self, x: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        return self.outputs(x, y)["score"]

    def outputs(self, x: torch.Tensor, y: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        return {"score": self.score(x.flatten(1))[:, 0] + (0 if y is None else y)}

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)


def test_the_wrapper_is_the_critic_behind_the_augmentation() -> None:
    judge = Judge()
    wrapped = Augmented(judge, Augment("color", p=0.0))
    x, y = samples(5, 1, 2, 2), torch.arange(5)
    assert torch.allclose(wrapped(x, y), judge(x, y), atol=1e-6)
    assert torch.allclose(wrapped.outputs(x)["score"], judge(x), atol=1e-6)
    assert torch.allclose(wrapped.encode(x), judge.encode(x), atol=1e-6)
    assert wrapped.depth == 7
    with pytest.raises(AttributeError):
        wrapped.nothing_like_it  # noqa: B018
    assert "augment.p" in wrapped.state_dict()


def test_what_cannot_be() -> None:
    with pytest.raises(UserError, match="rotation"):
        Augment("color,rotation")
    with pytest.raises(UserError, match="probability"):
        Augment("color", p=1.5)
