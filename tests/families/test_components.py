"""A generator that begins with means and principal components."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ganforge
from ganforge.errors import UserError
from ganforge.families.components import FromComponents, looked_at
from ganforge.run import Run

SHAPE, K = (1, 4, 4), 3


class Silent(nn.Module):
    """A G that says nothing yet, and then whatever it is told."""

    says: float = 0.0

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return torch.full((len(z), *SHAPE), self.says)


def flat(n: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """(n, *SHAPE) from a normal distribution over K directions, its mean and directions."""
    g = torch.Generator().manual_seed(seed)
    mean = 0.1 * torch.randn(16, generator=g)
    basis = 0.05 * torch.randn(K, 16, generator=g)
    return (mean + torch.randn(n, K, generator=g) @ basis).reshape(n, *SHAPE), mean, basis


@pytest.mark.parametrize("classes", [0, 2])
def test_the_guess_has_the_means_and_covariances_of_the_data(classes: int) -> None:
    groups = max(1, classes)
    made = [flat(4000, seed) for seed in range(groups)]
    x = torch.cat([m[0] for m in made])
    y = torch.arange(groups).repeat_interleave(4000)
    net = FromComponents(Silent(), SHAPE, classes, K)
    net.fit(x, y if classes else None, seed=0)
    z = torch.randn(20_000, 8, generator=torch.Generator().manual_seed(5))
    for c, (_, mean, basis) in enumerate(made):
        label = torch.full((len(z),), c) if classes else None
        guess = net(z, label).flatten(1)
        torch.testing.assert_close(guess.mean(0), mean, atol=0.01, rtol=0)
        torch.testing.assert_close(guess.T.cov(), basis.T @ basis, atol=0.003, rtol=0)


def test_g_can_take_all_of_it_back() -> None:
    net = FromComponents(Silent(), SHAPE, 0, K)
    net.fit(torch.full((40, *SHAPE), 0.9) + 0.01 * torch.randn(40, *SHAPE), None, seed=0)
    z = torch.randn(5, 8)
    assert (net(z) > 0.7).all()
    net.body.says = -1.0  # type: ignore[assignment]
    assert (net(z) == -1).all()


def test_a_class_of_few_samples_has_fewer_components_and_an_unseen_one_the_common_mean() -> None:
    net = FromComponents(Silent(), SHAPE, 3, K)
    x, _, _ = flat(105, 0)
    y = torch.tensor([0] * 100 + [1] * 5)
    net.fit(x, y, seed=0)
    used = (net.basis.view(3, K, -1).abs().sum(2) > 0).sum(1)
    assert used.tolist() == [K, 1, 0]
    torch.testing.assert_close(net.means[2], x.flatten(1).mean(0))


def test_vectors_live_anywhere() -> None:
    class Zero(nn.Module):
        def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
            return torch.zeros(len(z), 2)

    net = FromComponents(Zero(), (2,), 0, 1)
    net.fit(3 + 0.1 * torch.randn(400, 2), None, seed=0)
    assert (net(torch.randn(9, 4)) > 2).all()


def test_a_budget_shorter_than_the_look_at_the_data_still_makes_a_turn(tmp_path: Path) -> None:
    run = ganforge.train("fashion-mnist-mini", "lsgan", tmp_path / "r", minutes=1e-6,
                         components=4, width=8, batch_size=16)  # fmt: skip
    assert run.records()[-1]["step"] == 1


def test_what_is_looked_at_is_bounded() -> None:
    assert looked_at((1, 28, 28), 60_000) == 10_000
    assert looked_at((3, 256, 256), 60_000) * 3 * 256 * 256 <= 1 << 24
    assert looked_at((1, 28, 28), 7) == 7


def test_a_run_keeps_its_components_over_resume_and_as_another_ones_start(tmp_path: Path) -> None:
    def train(data: str, name: str, **more: Any) -> Run:
        small: dict[str, Any] = {"batch_size": 16, "width": 8, "components": 4}
        return ganforge.train(data, "lsgan", tmp_path / name, images=64, **small | more)

    def means(run: Run) -> Tensor:
        net = ganforge.load(run.path).nets["G"]
        assert isinstance(net, FromComponents)
        return net.means

    run = train("fashion-mnist-mini", "a")
    first = means(run)
    assert first.abs().max() > 0.5
    with pytest.MonkeyPatch.context() as patch:  # what a checkpoint holds is not sought again
        patch.setattr(FromComponents, "fit", None)
        ganforge.resume(run.path, images=128)
    assert torch.equal(means(run), first)
    other = train("fashion-mnist-mini:Bag", "b", start_from=run.path)
    assert torch.equal(means(other), first)
    assert not torch.equal(means(train("fashion-mnist-mini:Bag", "c")), first)
    bare = train("fashion-mnist-mini", "d", components=0)
    again = train("fashion-mnist-mini", "e", start_from=bare.path)
    assert again.config["components"] == 0


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"components": 65}, "latent.size=65"),
        ({"components": 4, "latent.kind": "uniform"}, "normal latents"),
    ],
)
def test_refused(tmp_path: Path, settings: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        ganforge.train("fashion-mnist-mini", "lsgan", tmp_path / "r", images=64,
                       **({"latent.size": 64} | settings))  # type: ignore[arg-type] # fmt: skip
