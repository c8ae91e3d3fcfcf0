"""The distribution of z, and its codes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ganforge import draws
from ganforge.errors import UserError

KINDS = ("normal", "uniform", "truncated")


@dataclass(frozen=True)
class Latent:
    """z = (noise, one-hot codes, continuous codes), concatenated in that order.

    Attributes:
        size: width of the unstructured noise.
        kind: "normal" N(0, 1), "uniform" U(-1, 1), or "truncated" (normal, redrawn by
            its inverse distribution within +-2).
        categorical: the number of values of each categorical code.
        continuous: how many codes from U(-1, 1).
    """

    size: int = 64
    kind: str = "normal"
    categorical: tuple[int, ...] = ()
    continuous: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(
                f"latent kind {self.kind!r} is unknown; choose one of {', '.join(KINDS)}"
            )
        if self.size < 0 or self.width < 1:
            raise UserError(f"a latent of width {self.width} holds nothing; use latent.size >= 1")

    @property
    def width(self) -> int:
        """The width of z, (N, width)."""
        return self.size + sum(self.categorical) + self.continuous

    def draw(
        self, n: int, device: torch.device | str | None = None, truncation: float = 1.0
    ) -> Tensor:
        """(n, width) float32. `truncation` in (0, 1] shrinks the noise towards its centre:
        a normal is redrawn within +-2 * truncation, a uniform scaled."""
        if self.kind == "normal" and truncation >= 1:
            z = draws.normal(n, self.size, device=device)
        else:
            z = self.noise(draws.uniform(n, self.size, device=device), truncation)
        parts = [z]
        for k in self.categorical:
            parts.append(one_hot(draws.integers(n, k, device=device), k).to(z.dtype))
        if self.continuous:
            parts.append(draws.uniform(n, self.continuous, device=device).mul_(2).sub_(1))
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def noise(self, quantile: Tensor, truncation: float = 1.0) -> Tensor:
        """The noise (N, size) whose place in its distribution is `quantile` in (0, 1)."""
        if self.kind == "uniform":
            return quantile.mul(2).sub_(1).mul_(truncation)
        low = 0.0
        if self.kind == "truncated" or truncation < 1:
            low = torch.special.ndtr(torch.tensor(-2.0 * truncation)).item()
        return torch.special.ndtri(quantile.mul(1 - 2 * low).add_(low).clamp_(1e-7, 1 - 1e-7))

    def quantile(self, z: Tensor) -> Tensor:
        """Where the noise of z (N, width), drawn without truncation, lies in its distribution:
        what `noise` takes, (N, size)."""
        z = z[:, : self.size]
        if self.kind == "uniform":
            return z.add(1).div(2)
        low = 0.0
        if self.kind == "truncated":
            low = torch.special.ndtr(torch.tensor(-2.0)).item()
        return torch.special.ndtr(z).sub(low).div(1 - 2 * low)

    def mixed(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        """Between latents a and b (..., width), a share t of the way (..., 1): normal noise
        turns, uniform noise and continuous codes go straight, categories change half way."""
        n, c = self.size, self.width - self.continuous
        noise = torch.lerp if self.kind == "uniform" else slerp
        one = noise(a[..., :n], b[..., :n], t)
        category = torch.where(t < 0.5, a[..., n:c], b[..., n:c])
        return torch.cat([one, category, torch.lerp(a[..., c:], b[..., c:], t)], -1)

    def within(self, z: Tensor) -> Tensor:
        """z with what is uniform brought back into [-1, 1]."""
        z = z.clone()
        if self.kind == "uniform":
            z[..., : self.size].clamp_(-1, 1)
        if self.continuous:
            z[..., -self.continuous :].clamp_(-1, 1)
        return z

    def categories(self, z: Tensor) -> list[Tensor]:
        """The one-hot codes of z, each (N, k)."""
        return list(z[:, self.size : self.size + sum(self.categorical)].split(self.categorical, 1))

    def codes(self, z: Tensor) -> Tensor:
        """The continuous codes of z, (N, continuous)."""
        return z[:, self.width - self.continuous :]

    def set_code(self, z: Tensor, index: int, value: float) -> Tensor:
        """A copy of z with code number `index` set: the categorical codes come first
        (`value` is the category), then the continuous ones (`value` in [-1, 1])."""
        codes = len(self.categorical) + self.continuous
        if not 0 <= index < codes:
            have = f"0 to {codes - 1}" if codes else "none"
            raise UserError(f"code {index} does not exist; this generator has codes: {have}")
        z = z.clone()
        if index < len(self.categorical):
            k, start = self.categorical[index], self.size + sum(self.categorical[:index])
            if not (value == int(value) and 0 <= value < k):
                raise UserError(
                    f"code {index} is a category from 0 to {k - 1}; {value:g} was given"
                )
            z[:, start : start + k] = 0
            z[:, start + int(value)] = 1
        else:
            z[:, self.width - self.continuous + index - len(self.categorical)] = value
        return z


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Spherical interpolation along the last axis (Shoemake 1985; White 2016, arXiv
    1609.04468): a straight line between two normals would pass through untypical lengths."""
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=-1).clamp(-1 + 1e-6, 1 - 1e-6)
    angle = cosine.acos().unsqueeze(-1)
    return (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / angle.sin()
