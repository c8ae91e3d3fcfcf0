"""Augmentation that adapts: Karras, Aittala, Hellsten, Laine, Lehtinen and Aila 2020, Training
Generative Adversarial Networks with Limited Data, arXiv 2006.06676."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ganforge.data.augment import Augment
from ganforge.errors import UserError
from ganforge.objectives.objective import Objective, over_processes
from ganforge.spec import Batch


class Adaptive(nn.Module):
    """Moves the probability p of an augmentation while D trains: up while r is above the
    target, down while it is below.

    r = |E sign(D(x) - D(G(z)))|, over the pairs of a few moves: 0 where D tells nothing, 1
    where every real is told from its forgery, as when D has learnt the reals by heart. The
    paper has E sign(D(x)); but the zero of a relativistic D or of a critic means nothing, and
    an energy is lower for reals.

    Args:
        augments: what critics see goes through them; their p is moved.
        target: of r, 0.6 in the paper.
        batch_size: real samples of a move, over all processes.
        pace: images in which p goes from 0 to 1 at the fastest, 500,000 in the paper.
        every: moves of D between two moves of p, 4 in the paper.
    """

    player = "D"

    def __init__(
        self,
        augments: Sequence[Augment],
        target: float,
        batch_size: int,
        pace: float = 500_000,
        every: int = 4,
    ) -> None:
        super().__init__()
        self._augments = list(augments)  # a network's part, saved with it
        self.target, self.step, self.every = target, every * batch_size / pace, every
        self.seen: Tensor
        self.moves: Tensor
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("moves", torch.zeros((), dtype=torch.int64))
        self._count = -1  # of `moves`, on the processor; unknown at first and after a restore
        self.register_load_state_dict_post_hook(lambda module, _: setattr(module, "_count", -1))

    @torch.no_grad()
    def __call__(self, game: Objective, nets: nn.ModuleDict, batch: Batch) -> None:
        memo = batch.memo
        said = [memo[k]["score"] for k in ("D(x)", "D(G(z))") if k in memo]
        if game.warming:
            return
        if len(said) < 2:
            raise UserError(
                f"augment_target needs what D says of reals and of forgeries, which {type(game).__name__} "
                "does not keep; write its losses with on_real and on_fake, or leave augment_target out"
            )
        if self._count < 0:
            self._count = int(self.moves)
        # Averaged at each move, so that it is the same for all processes whenever it is saved.
        self.seen += over_processes((said[0].detach() - said[1].detach()).sign().mean())
        self.moves += 1
        self._count += 1
        if self._count % self.every == 0:
            r = (self.seen / self.every).abs()
            for augment in self._augments:
                augment.p.add_((r - self.target).sign() * self.step).clamp_(0, 1)
            self.seen.zero_()

    def readings(self) -> dict[str, Tensor]:
        """What to watch: p, (1,)."""
        return {"augmented": self._augments[0].p.detach()[None]}
