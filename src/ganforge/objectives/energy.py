"""Autoencoders as discriminators."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn


class Energy(nn.Module):
    """D(x) is how far an autoencoder leaves x from itself: high where data are rare.

    Args:
        autoencoder: x (N, *shape) -> x', with `encode` and `decode`.
        distance: (x', x) -> (N,), for each sample, never of the batch's mean.
    """

    def __init__(
        self, autoencoder: nn.Module, distance: Callable[[Tensor, Tensor], Tensor]
    ) -> None:
        super().__init__()
        self.autoencoder, self.distance = autoencoder, distance

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The energy (N,)."""
        return self.outputs(x)["score"]

    def outputs(self, x: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
        """{"score": the energy (N,), "features": the codes (N, F)}. Classes are not looked at."""
        code = self.autoencoder.encode(x)  # type: ignore[operator]
        return {"score": self.distance(self.autoencoder.decode(code), x), "features": code}  # type: ignore[operator]
