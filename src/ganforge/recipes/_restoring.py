"""What all recipes of restoration share: first the network learns what is most likely, by L1,
then the game makes it look real (Ledig et al. 2016, arXiv 1609.04802). Where
much was lost, D compares each restored picture with the true one that it should be (relativistic,
as in ESRGAN: Wang et al. 2018, arXiv 1809.00219), and its gradients are bounded; from noise, where
little was lost, such a D leads away, and a plain one does less harm. A perceptual term is left to
be added (--add perceptual=4)."""

from typing import Any

STAGES: dict[str, Any] = {
    "terms": {"l1": 50.0},
    "warmup": 10_000,
    "critic_width": 32,
    "patch": 2,
    "batch_size": 16,
    "lr": 3e-4,
    "betas": (0.5, 0.99),
}
