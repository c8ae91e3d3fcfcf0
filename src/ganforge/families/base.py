"""What every family of networks shares: the refusals, and the ends of the networks that
turn labels into conditions and features into scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Literal, NoReturn

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.errors import UserError

Conditioning = Literal["concat", "projection"]
"""How networks learn the class: "concat" joins it to the input (Mirza and Osindero 2014,
arXiv 1411.1784); "projection" takes its inner product with D's features and gives G
class-conditional norms (Miyato and Koyama 2018, arXiv 1802.05637)."""

_KINDS = {0: "vectors (C,)", 1: "sound (C, T)", 2: "pictures (C, H, W)", 3: "volumes (C, D, H, W)"}


class Family:
    """Networks of one design, for any shape that it can make. A family defines those of
    the four methods that it has; the others refuse and name the families that have them.

    Attributes:
        dims: over how many dimensions its networks work; 0 is vectors.
    """

    dims: ClassVar[tuple[int, ...]] = (1, 2, 3)

    def generator(self, latent: int, shape: tuple[int, ...], classes: int = 0) -> nn.Module:
        """G(z, y) -> x: z (N, latent), y (N,) int64 or None, x (N, *shape) in [-1, 1];
        vectors are unbounded.

        Raises:
            UserError: this family has no generator, or none of that shape.
        """
        self._lacks("generator")

    def critic(
        self,
        shape: tuple[int, ...],
        classes: int = 0,
        heads: Mapping[str, int] | None = None,
        norm: str | None = "family",
    ) -> nn.Module:
        """D(x, y) -> score (N,) or (N, patches); D.outputs(x, y) -> {"score", "features"
        (N, F), and one (N, k) for each of `heads`}. `norm` is "family" for the paper's,
        "layer", or None.

        Raises:
            UserError: this family has no critic, or none of that shape.
        """
        self._lacks("critic")

    def autoencoder(self, shape: tuple[int, ...], code: int | None = None) -> nn.Module:
        """D(x) -> x' (N, *shape); D.encode(x) -> code (N, F), with F = `code` if given.

        Raises:
            UserError: this family has no autoencoder, or none of that shape.
        """
        self._lacks("autoencoder")

    def translator(self, source: tuple[int, ...], shape: tuple[int, ...]) -> nn.Module:
        """G(source) -> x: (N, *source) to (N, *shape), both in [-1, 1].

        Raises:
            UserError: this family has no translator, or none between those shapes.
        """
        self._lacks("translator")

    # -- refusals -----------------------------------------------------------------------
    @classmethod
    def title(cls) -> str:
        """The registered name, or the class's own."""
        from ganforge.families import FAMILIES

        own = f"{cls.__module__}:{cls.__qualname__}"
        return next((name for name, where in FAMILIES.items() if where == own), cls.__name__)

    @classmethod
    def has(cls, method: str) -> bool:
        """Whether the family defines this method."""
        return getattr(cls, method) is not getattr(Family, method)

    def _lacks(self, method: str) -> NoReturn:
        hint = ""
        if method == "generator" and self.has("translator"):
            hint = "; or, for it translates, say from what: --set degrade=noise:25 or inputs=SOURCE"
        raise UserError(
            f"family {self.title()!r} has no {method}; use --set family=NAME with one of "
            f"{', '.join(having(method))}{hint}"
        )

    def space(self, shape: tuple[int, ...], method: str, smallest: int = 1) -> tuple[int, ...]:
        """The sizes of `shape` without its channels, checked.

        Raises:
            UserError: the family's `method` cannot make that shape.
        """
        space = shape[1:]
        if len(space) not in self.dims:
            fit = [n for n in having(method) if len(space) in _class(n).dims]
            names = ", ".join(fit)
            remedy = (
                f"use --set family=NAME with one of {names}"
                if fit
                else "no family does; use data of another kind"
            )
            raise UserError(
                f"family {self.title()!r} makes {', '.join(_KINDS[d] for d in self.dims)}, but "
                f"the data are {_KINDS.get(len(space), 'of more dimensions')} {shape}; {remedy}"
            )
        if space and min(space) < smallest:
            raise UserError(
                f"family {self.title()!r} needs sides of {smallest} or more, but the data are "
                f"{shape}; use a larger --size, or --set family=mlp"
            )
        return space


def _class(name: str) -> type[Family]:
    from ganforge.families import family_class

    return family_class(name)


def having(method: str) -> list[str]:
    """The names of the families that define a method."""
    from ganforge.families import FAMILIES

    return [n for n in FAMILIES if _class(n).has(method)]


# -- labels ---------------------------------------------------------------------------------
def check_labels(y: Tensor | None, classes: int) -> Tensor:
    """y, (N,) int64.

    Raises:
        UserError: the network needs labels and there are none.
    """
    if y is None:
        raise UserError(f"this network knows {classes} classes: give it labels (N,) from 0")
    return y


def one_hot(y: Tensor | None, classes: int, like: Tensor) -> Tensor:
    """(N, classes) of `like`'s kind.

    Raises:
        UserError: the network needs labels and there are none.
    """
    return F.one_hot(check_labels(y, classes), classes).to(like.dtype)


def with_class(x: Tensor, label: Tensor) -> Tensor:
    """One-hot labels (N, K) as K more channels of x (N, C, *space), constant over space."""
    maps = label.view(*label.shape, *[1] * (x.dim() - 2)).expand(-1, -1, *x.shape[2:])
    if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
        return torch.cat([x.permute(0, 2, 3, 1), maps.permute(0, 2, 3, 1)], 3).permute(0, 3, 1, 2)
    return torch.cat([x, maps], 1)


class Generator(nn.Module):
    """G(z, y): a body that takes z joined by the one-hot label, or z and the label apart.

    Args:
        body: from (N, latent + classes) where joined; else from z and the label (N, classes).
        classes: 0 for none.
        joined: whether the label is part of z.
    """

    def __init__(self, body: nn.Module, classes: int = 0, joined: bool = True) -> None:
        super().__init__()
        self.body, self.classes, self.joined = body, classes, joined

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        if not self.classes:
            return self.body(z)
        label = one_hot(y, self.classes, z)
        return self.body(torch.cat([z, label], 1)) if self.joined else self.body(z, label)


class Critic(nn.Module):
    """D(x, y): a trunk from samples to features (N, F), and linear maps from these.

    With "concat" the trunk gets the class as more channels; with "projection" the score is
    w.phi(x) + v_y.phi(x).

    Args:
        trunk: from (N, C [+ classes], *space) to (N, width).
        width: F.
        join: how samples and one-hot labels become what the trunk takes.
    """

    def __init__(
        self,
        trunk: nn.Module,
        width: int,
        classes: int = 0,
        conditioning: Conditioning = "concat",
        heads: Mapping[str, int] | None = None,
        join: Callable[[Tensor, Tensor], Tensor] = with_class,
    ) -> None:
        super().__init__()
        self.trunk, self.classes, self.join = trunk, classes, join
        self.score = nn.Linear(width, 1)
        self.embed = None
        if classes and conditioning == "projection":
            self.embed = nn.Embedding(classes, width)
            nn.init.normal_(self.embed.weight, std=width**-0.5)
        self.heads = nn.ModuleDict({k: nn.Linear(width, n) for k, n in (heads or {}).items()})

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The score (N,)."""
        return self.judge(self.trunk(self.joined(x, y)), y)

    def outputs(self, x: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
        """{"score": (N,), "features": (N, F), head: (N, k) ...}"""
        phi = self.trunk(self.joined(x, y))
        heads = {k: head(phi) for k, head in self.heads.items()}
        return {"score": self.judge(phi, y), "features": phi} | heads

    def joined(self, x: Tensor, y: Tensor | None) -> Tensor:
        """What the trunk gets: x, joined by the class where that is how it enters."""
        if not self.classes:
            return x
        check_labels(y, self.classes)
        return x if self.embed is not None else self.join(x, one_hot(y, self.classes, x))

    def judge(self, phi: Tensor, y: Tensor | None) -> Tensor:
        """The score (N,) of features (N, F)."""
        score = self.score(phi).squeeze(1)
        return score if self.embed is None else score + (self.embed(y) * phi).sum(1)


def joined_classes(classes: int, conditioning: Conditioning) -> int:
    """How many channels a critic's trunk, or numbers a generator's z, gets for the class."""
    return classes if conditioning == "concat" else 0


class Autoencoder(nn.Module):
    """D(x) -> x': an encoder to codes (N, F) and a decoder back."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def encode(self, x: Tensor) -> Tensor:
        """The code (N, F)."""
        return self.encoder(x)

    def decode(self, code: Tensor) -> Tensor:
        """x' (N, *shape) from its code."""
        return self.decoder(code)

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))
