"""Scores as pure functions of feature matrices (N, dim), each with an interval.

Every interval covers 95 % of the draws of the generated samples, the real ones being given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ganforge.errors import UserError

GROUPS = 20
"""Groups of generated samples that the jackknife leaves out in turn."""

PAIRS = 10_000
"""Metrics over all pairs use at most so many samples of each kind."""

FEWEST = 50
"""Samples that any metric needs of each kind."""


class TooFew(UserError):
    """Too few samples for the metric."""


@dataclass(frozen=True)
class Value:
    """A score and the interval in which 95 % of such scores fall."""

    value: float
    low: float
    high: float

    def plain(self, floor: float | None = None) -> dict[str, float | None]:
        """For JSON."""
        return {"value": self.value, "low": self.low, "high": self.high, "floor": floor}


def need(metric: str, fewest: int, **counts: int) -> None:
    """Raise `TooFew` where a count is below what the metric needs."""
    for what, n in counts.items():
        if n < fewest:
            raise TooFew(f"{metric} needs at least {fewest} {what} samples; there are {n}")


# -- Frechet distance -------------------------------------------------------------------
@dataclass(frozen=True)
class Moments:
    """What the Frechet distance knows of a set of features.

    Attributes:
        mean: (dim,) float64.
        root: (dim, dim) float64, lower triangular: root @ root.T is the covariance.
        trace: of the covariance.
    """

    mean: Tensor
    root: Tensor
    trace: Tensor

    @classmethod
    def of(cls, x: Tensor) -> Moments:
        return cls.fit(*mean_and_covariance(x))

    @classmethod
    def fit(cls, mean: Tensor, covariance: Tensor) -> Moments:
        """A feature that never varies leaves the covariance singular; the least variance that
        a factor needs is added, 1e-10 of the mean one."""
        trace = covariance.trace()
        least = (trace / len(mean)).clamp_min(1e-30)
        for share in (1e-10, 1e-8, 1e-6, 1e-4):
            jitter = torch.full_like(mean, float(least) * share)
            root, failed = torch.linalg.cholesky_ex(covariance + jitter.diag())
            if not failed:
                break
        return cls(mean, root, trace)


def mean_and_covariance(x: Tensor) -> tuple[Tensor, Tensor]:
    """The mean (dim,) and the unbiased covariance (dim, dim) of (N, dim), in float64."""
    x = x.double()
    mean = x.mean(0)
    centred = x - mean
    return mean, centred.T @ centred / (len(x) - 1)


def frechet(fake: Tensor, real: Tensor | Moments) -> Value:
    """||m_f - m_r||^2 + tr(S_f + S_r - 2 (S_f S_r)^(1/2)) of Gaussians fitted to the features
    (Dowson and Landau 1982; Heusel et al. 2017, arXiv 1706.08500).

    The interval is that of the infinitesimal jackknife, the limit of the bootstrap: the
    distance is differentiable in the generated samples' moments, with gradient 2 (m_f - m_r)
    and I - T, where T carries the one Gaussian to the other; so each sample's influence, and
    their variance, is known.

    Raises:
        TooFew: a covariance of `dim` features needs more than `dim` samples.
    """
    n, dim = fake.shape
    need("the Frechet distance", max(dim + 1, FEWEST), generated=n)
    if not isinstance(real, Moments):
        need("the Frechet distance", max(dim + 1, FEWEST), real=len(real))
        real = Moments.of(real)
    mean, cov = mean_and_covariance(fake)
    values, vectors = torch.linalg.eigh(real.root.T @ cov @ real.root)
    values = values.clamp_min(0)
    gap = mean - real.mean
    distance = gap @ gap + cov.trace() + real.trace - 2 * values.sqrt().sum()
    inverse = torch.where(values > values[-1] * 1e-12, values.pow(-0.25), 0.0)
    half = (real.root @ vectors) * inverse  # half @ half.T is T
    centred = fake.double() - mean
    quadratic = centred.square().sum(1) - (centred @ half).square_().sum(1)
    influence = 2 * centred @ gap + quadratic
    error = influence.std() / n**0.5
    return _around(distance.clamp_min(0).item(), error.item(), 1.96, 0.0)


def frechet_infinity(fake: Tensor, real: Tensor, points: int = 5) -> Value:
    """The Frechet distance extrapolated to infinitely many samples of both kinds: its bias is
    linear in 1/N (Chong and Forsyth 2020, arXiv 1911.07023), so it is measured on the first N
    of both for several N, and a line through them is read off at 1/N = 0. Can be negative
    where the distributions are equal.
    """
    n, dim = min(len(fake), len(real)), fake.shape[1]
    fewest = max(dim + 1, FEWEST)
    need("the Frechet distance at infinity", fewest * 5 // 4 + 1, generated=n, real=n)
    inverse = np.linspace(1 / max(fewest, n // 3), 1 / n, points)
    sizes = np.unique(np.round(1 / inverse).astype(int))
    found = []
    for (m_f, s_f), (m_r, s_r) in zip(_growing(fake, sizes), _growing(real, sizes), strict=True):
        root = Moments.fit(m_r, s_r).root
        overlap = torch.linalg.eigvalsh(root.T @ s_f @ root).clamp_min(0).sqrt().sum()
        found.append(((m_f - m_r).square().sum() + s_f.trace() + s_r.trace() - 2 * overlap).item())
    slope, intercept = np.polyfit(1 / sizes, found, 1)
    residual = np.array(found) - (slope / sizes + intercept)
    x = 1 / sizes - (1 / sizes).mean()
    spread = (residual @ residual / max(len(sizes) - 2, 1)) ** 0.5
    of_line = spread * (1 / len(sizes) + (1 / sizes).mean() ** 2 / (x @ x)) ** 0.5
    whole = frechet(fake[:n], real[:n])
    sampling = (whole.high - whole.value) / 1.96
    return _around(float(intercept), float((of_line**2 + sampling**2) ** 0.5), 1.96)


def _growing(x: Tensor, sizes: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
    """Mean and covariance of the first N rows for each of the growing sizes."""
    shift = x.mean(0, dtype=torch.float64)
    total, products, done = torch.zeros_like(shift), torch.zeros(len(shift), len(shift)).double(), 0
    for n in sizes.tolist():
        part = x[done:n].double() - shift
        total, products, done = total + part.sum(0), products + part.T @ part, n
        mean = total / n
        yield mean + shift, (products - n * torch.outer(mean, mean)) / (n - 1)


# -- kernel distance --------------------------------------------------------------------
def kid(fake: Tensor, real: Tensor, unit: bool = False) -> Value:
    """Squared maximum mean discrepancy with the kernel (x.y / dim + 1)^3, its unbiased
    estimate over all pairs (Binkowski et al. 2018, arXiv 1801.01401). It can be negative.
    The interval leaves out groups of generated samples in turn.

    Args:
        unit: bring the features to a mean square of 1 over the real samples first. The
            kernel suits the Inception network's features as they are; those of other
            networks can be so small that it is linear, or so large that it is a sixth power.
    """
    fake, real = fake[:PAIRS], real[:PAIRS]
    if unit:
        scale = real.square().mean().sqrt().clamp_min(1e-12)
        fake, real = fake / scale, real / scale
    need("KID", FEWEST, generated=len(fake), real=len(real))
    m, n = len(fake), len(real)
    groups = np.array_split(np.arange(m), GROUPS)
    sizes = np.array([len(g) for g in groups])
    parts = [fake[int(g[0]) : int(g[-1]) + 1] for g in groups]
    own, cross = np.zeros((GROUPS, GROUPS)), np.zeros(GROUPS)
    for i, x in enumerate(parts):
        cross[i] = _kernel_sum(x, real)
        for j in range(i, GROUPS):
            own[i, j] = own[j, i] = _kernel_sum(x, parts[j], same=i == j)
    reals = _within(real) / (n * (n - 1))

    def estimate(own_sum: float, cross_sum: float, m: int) -> float:
        return float(own_sum / (m * (m - 1)) + reals - 2 * cross_sum / (m * n))

    whole = estimate(own.sum(), cross.sum(), m)
    without = np.array(
        [
            estimate(own.sum() - 2 * own[g].sum() + own[g, g], cross.sum() - cross[g], m - sizes[g])
            for g in range(GROUPS)
        ]
    )
    return _around(whole, _jackknife(without), STUDENT)


def _kernel_sum(x: Tensor, y: Tensor, same: bool = False) -> float:
    """The sum of the kernel over all pairs; where x is y, over distinct ones."""
    k = torch.mm(x, y.T).div_(x.shape[1]).add_(1)
    cube = k.square().mul_(k)
    if same:
        cube.fill_diagonal_(0)
    return cube.sum(1).double().sum().item()


def _within(x: Tensor, block: int = 1000) -> float:
    """The sum of the kernel over all ordered pairs of distinct rows."""
    parts = x.split(block)
    total = 0.0
    for i, a in enumerate(parts):
        total += _kernel_sum(a, a, same=True)
        for b in parts[i + 1 :]:
            total += 2 * _kernel_sum(a, b)
    return total


# -- inception score --------------------------------------------------------------------
def inception_score(probabilities: Tensor, splits: int = 10) -> Value:
    """exp E KL(p(y|x) || p(y)) of (N, classes) probabilities, the mean over 10 splits as
    published (Salimans et al. 2016, arXiv 1606.03498)."""
    need("the Inception score", splits * 10, generated=len(probabilities))
    scores = []
    for p in probabilities.double().tensor_split(splits):
        kl = (p * (p.clamp_min(1e-16).log() - p.mean(0).clamp_min(1e-16).log())).sum(1).mean()
        scores.append(kl.exp().item())
    error = float(np.std(scores, ddof=1) / splits**0.5)
    return _around(float(np.mean(scores)), error, 2.26, 1.0)


# -- neighbourhoods ---------------------------------------------------------------------
def neighbourhoods(
    fake: Tensor, real: Tensor, k_precision: int = 3, k_density: int = 5
) -> dict[str, Value]:
    """precision and recall (Kynkaanniemi et al. 2019, arXiv 1904.06991) from balls that reach
    each sample's third neighbour; density and coverage (Naeem et al. 2020, arXiv 2002.09797)
    from balls that reach each real sample's fifth. Precision and recall do not reach 1 for
    equal distributions; density can exceed 1.
    """
    fake, real = fake[:PAIRS], real[:PAIRS]
    need("precision, recall, density and coverage", FEWEST, generated=len(fake), real=len(real))
    centre = real.mean(0)
    fake, real = fake - centre, real - centre
    deepest = max(k_precision, k_density)
    real_balls = radii(real, deepest)
    r_precision, r_density = real_balls[:, k_precision - 1], real_balls[:, k_density - 1]
    r_fake = radii(fake, k_precision)[:, -1]
    precise, dense = torch.zeros(len(fake)), torch.zeros(len(fake))
    covered = torch.zeros(GROUPS, len(real), dtype=torch.bool)
    recalled = torch.zeros(GROUPS, len(real), dtype=torch.bool)
    group = torch.arange(len(fake)) * GROUPS // len(fake)
    for rows, d in distances(fake, real):
        inside = d <= r_density
        precise[rows] = (d <= r_precision).any(1).float()
        dense[rows] = inside.float().sum(1) / k_density
        reached = d <= r_fake[rows, None]
        for g in group[rows].unique().tolist():
            mine = group[rows] == g
            covered[g] |= inside[mine].any(0)
            recalled[g] |= reached[mine].any(0)
    return {
        "precision": _mean(precise, 1.0),
        "recall": _any(recalled),
        "density": _mean(dense, None),
        "coverage": _any(covered),
    }


def distances(x: Tensor, y: Tensor, block: int = 500) -> Iterator[tuple[slice, Tensor]]:
    """Squared distances of x (N, dim) to y (M, dim), some rows at a time."""
    lengths = y.square().sum(1)
    for start in range(0, len(x), block):
        part = x[start : start + block]
        d = torch.addmm(lengths, part, y.T, alpha=-2).add_(part.square().sum(1, keepdim=True))
        yield slice(start, start + len(part)), d.clamp_min_(0)


def radii(x: Tensor, k: int) -> Tensor:
    """(N, k): squared distance of each row to its 1st ... k-th neighbour among the others."""
    out = torch.empty(len(x), k)
    for rows, d in distances(x, x):
        index = torch.arange(rows.start, rows.stop)
        d[index - rows.start, index] = torch.inf
        out[rows] = d.topk(k, 1, largest=False, sorted=True).values
    return out


def nearest(x: Tensor, y: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
    """(N, k) distances to each row's nearest rows of y, nearest first, and their indices; the
    first distance is computed again without cancellation."""
    near, index = torch.empty(len(x), k), torch.empty(len(x), k, dtype=torch.int64)
    for rows, d in distances(x, y):
        found = d.topk(k, 1, largest=False, sorted=True)
        near[rows], index[rows] = found.values.sqrt(), found.indices
    near[:, 0] = (x - y[index[:, 0]]).square().sum(1).sqrt()
    return near, index


# -- memorisation -----------------------------------------------------------------------
def memorisation(fake: Tensor, train: Tensor, held_out: Tensor) -> Value:
    """The share of generated samples that lie nearer to the training samples than to as many
    held-out ones: 0.5 where the generator has learnt the distribution, 1 where it has learnt
    the samples (a two-sample form of Meehan et al. 2020, arXiv 2004.05675)."""
    m = min(len(train), len(held_out), PAIRS)
    fake = fake[:PAIRS]
    need("memorisation", FEWEST, generated=len(fake), real=m)
    centre = held_out[:m].mean(0)
    fake, train, held_out = fake - centre, train[:m] - centre, held_out[:m] - centre
    to_train, to_held_out = nearest(fake, train)[0][:, 0], nearest(fake, held_out)[0][:, 0]
    closer = (to_train < to_held_out).float() + 0.5 * (to_train == to_held_out).float()
    return _mean(closer, 1.0)


def copies(fake: Tensor, train: Tensor, k: int = 50) -> tuple[Value, Tensor]:
    """The share of generated samples that copy a training sample: nearer to it than half the
    mean distance of their `k` nearest (Carlini et al. 2023, arXiv 2301.13188).

    Returns:
        The share, and each generated sample's nearest training sample (N,).
    """
    need("copies", 2 * k, training=len(train))
    need("copies", FEWEST, generated=len(fake))
    centre = train.mean(0)
    d, index = nearest(fake - centre, train - centre, k)
    return _mean((d[:, 0] < 0.5 * d.mean(1)).float(), 1.0), index[:, 0]


# -- sound ------------------------------------------------------------------------------
def spectral_convergence(fake: Tensor, real: Tensor) -> Value:
    """How far the generated sounds' mean spectrum is from the real one's, as a share of its
    norm: 0 where they are equal, |1 - g| where all are g times as loud. After the spectral
    convergence of one sound to another (Sturmel and Daudet 2011), for sets without pairs.

    Args:
        fake, real: (N, bins) mean magnitudes, see `ganforge.judging.hearing.spectrum`.
    """
    need("spectral convergence", FEWEST, generated=len(fake), real=len(real))
    fake, real = fake.double(), real.double().mean(0)

    def share(mean: Tensor) -> float:
        return ((mean - real).norm() / real.norm().clamp_min(1e-12)).item()

    total, n = fake.sum(0), len(fake)
    groups = fake.tensor_split(GROUPS)
    without = np.array([share((total - g.sum(0)) / (n - len(g))) for g in groups])
    return _around(share(total / n), _jackknife(without), STUDENT, 0.0)


# -- intervals --------------------------------------------------------------------------
STUDENT = 2.093
"""97.5 % quantile of Student's t with GROUPS - 1 degrees of freedom."""


def _around(
    value: float, error: float, width: float, least: float = -np.inf, most: float = np.inf
) -> Value:
    return Value(value, max(value - width * error, least), min(value + width * error, most))


def _jackknife(without: np.ndarray) -> float:
    """The standard error from the estimates that leave out one group each."""
    return float(((len(without) - 1) * without.var()) ** 0.5)


def _mean(per_sample: Tensor, most: float | None) -> Value:
    error = per_sample.std().item() / len(per_sample) ** 0.5
    return _around(per_sample.mean().item(), error, 1.96, 0.0, np.inf if most is None else most)


def _any(by_group: Tensor) -> Value:
    """The share of real samples that some group reaches; (GROUPS, N) bool."""
    count = by_group.sum(0)
    without = np.array([((count - own.long()) > 0).float().mean().item() for own in by_group])
    value = (count > 0).float().mean().item()
    return _around(value, _jackknife(without), STUDENT, 0.0, 1.0)
