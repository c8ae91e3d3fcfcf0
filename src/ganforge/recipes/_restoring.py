"""What all recipes of restoration share: first the network learns what is most likely, by L1,
then the game makes it look real (Ledig et al. 2016, arXiv 1609.04802)."""

from typing import Any

STAGES: dict[str, Any] = {
    "terms": {"l1": 20.0, "perceptual": 5.0},
    "warmup": 10_000,
    "critic_width": 32,
    "patch": 2,
    "batch_size": 16,
    "lr": 3e-4,
    "betas": (0.5, 0.99),
}
