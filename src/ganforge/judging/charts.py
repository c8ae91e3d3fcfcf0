"""Curves as inline SVG: no script, no network; colours come from the page's variables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

import numpy as np

POINTS = 120
"""A curve has at most so many points; more are averaged, their range drawn as a band."""

DASHES = ("", "7 4", "2 4", "10 3 2 3", "4 2", "1 3")


@dataclass(frozen=True)
class Curve:
    """One line: y over x, and a band from low to high where given."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    colour: str = "var(--c0)"
    dots: bool = False


def chart(
    curves: Sequence[Curve],
    *,
    title: str,
    x_name: str = "images",
    note: str = "",
    width: int = 560,
    height: int = 230,
    log: bool = False,
    zero: bool = False,
) -> str:
    """A figure with its caption and key. Empty if there is nothing to draw.

    Args:
        log: draw the logarithm, if all values are above zero.
        zero: let the axis begin at zero, if all values are above it.
    """
    thin = [c for c in map(_thinned, curves) if len(c.x)]
    if not thin:
        return ""
    bands = [v for c in thin for part in (c.low, c.high) if part is not None for v in part]
    values = [v for c in thin for v in c.y]
    log = log and min(values) > 0
    low, high = _range([*values, *(b for b in bands if not log or b > 0)], log, zero)
    x_low, x_high = min(c.x[0] for c in thin), max(c.x[-1] for c in thin)
    if x_low < 0.1 * x_high:
        x_low = 0
    left, right, top, bottom = 58, 14, 10, 30

    def at_x(x: float) -> float:
        return left + (width - left - right) * (x - x_low) / ((x_high - x_low) or 1)

    def at_y(y: float) -> float:
        if log:
            share = math.log(max(y, low) / low) / (math.log(high / low) or 1)
        else:
            share = (y - low) / ((high - low) or 1)
        return top + (height - top - bottom) * (1 - min(max(share, 0), 1))

    parts = []
    for tick in ticks(low, high, log):
        y = at_y(tick)
        parts.append(
            f'<line class="grid" x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(f'<text x="{left - 7}" y="{y + 4:.1f}" text-anchor="end">{short(tick)}</text>')
    marks = ticks(x_low, x_high, False, 5)
    for tick in marks:
        end = tick == marks[-1]
        x, side = (width - right, "end") if end else (at_x(tick), "middle")
        said = f"{short(tick)} {x_name}" if end else short(tick)
        parts.append(
            f'<text x="{x:.1f}" y="{height - 8}" text-anchor="{side}">{escape(said)}</text>'
        )
    for i, c in enumerate(thin):
        if c.low is not None and c.high is not None:
            upper = [f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in zip(c.x, c.high, strict=True)]
            lower = [f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in zip(c.x, c.low, strict=True)]
            parts.append(
                f'<polygon class="band" points="{" ".join(upper + lower[::-1])}" '
                f'style="fill:{c.colour}"/>'
            )
        points = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in zip(c.x, c.y, strict=True))
        dash = DASHES[i % len(DASHES)] if len(thin) > 1 else ""
        parts.append(
            f'<polyline points="{points}" style="stroke:{c.colour}" stroke-dasharray="{dash}"/>'
        )
        if c.dots or len(c.x) == 1:
            parts += [
                f'<circle cx="{at_x(x):.1f}" cy="{at_y(y):.1f}" r="3" style="fill:{c.colour}"/>'
                for x, y in zip(c.x, c.y, strict=True)
            ]
    keys = "".join(
        f'<span class="key"><svg viewBox="0 0 26 8" width="26" height="8" aria-hidden="true"><line x1="0" '
        f'x2="26" y1="4" y2="4" style="stroke:{c.colour}" '
        f'stroke-dasharray="{DASHES[i % len(DASHES)] if len(thin) > 1 else ""}"/></svg>'
        f"{escape(c.name)}</span>"
        for i, c in enumerate(thin)
    )
    said = "; ".join(f"{c.name} from {short(c.y[0])} to {short(c.y[-1])}" for c in thin)
    return (
        f'<figure class="chart"><figcaption><b>{escape(title)}</b>{keys}</figcaption>'
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(f"{title}: {said}", True)}">'
        f"{''.join(parts)}"
        f"</svg>{f'<p class=note>{escape(note)}</p>' if note else ''}</figure>"
    )


def _thinned(c: Curve) -> Curve:
    """At most POINTS points, what is not finite left out."""
    y = np.array([math.nan if v is None else v for v in c.y], float)
    keep = np.isfinite(y)
    x, y = np.asarray(c.x, float)[keep], y[keep]
    low = None if c.low is None else np.asarray(c.low, float)[keep]
    high = None if c.high is None else np.asarray(c.high, float)[keep]
    if len(x) > POINTS:
        edges = np.linspace(0, len(x), POINTS + 1).astype(int)
        cuts = [slice(a, b) for a, b in pairwise(edges)]
        low = np.array([np.quantile(y[s], 0.1) for s in cuts]) if low is None else low[edges[:-1]]
        high = (
            np.array([np.quantile(y[s], 0.9) for s in cuts]) if high is None else high[edges[:-1]]
        )
        x, y = (np.array([v[s].mean() for s in cuts]) for v in (x, y))
    band = (None, None) if low is None or high is None else (low.tolist(), high.tolist())
    return Curve(c.name, x.tolist(), y.tolist(), *band, c.colour, c.dots)


def _range(values: Sequence[float], log: bool, zero: bool) -> tuple[float, float]:
    """Where the axis begins and ends. What lies far outside the bulk (a first spike) is cut."""
    v = np.array(values)
    low, high = float(v.min()), float(v.max())
    if not log and len(v) > 20:
        q1, q9 = np.quantile(v, [0.02, 0.98])
        reach = (q9 - q1) or 1
        low, high = max(low, q1 - 0.5 * reach), min(high, q9 + 0.5 * reach)
    if zero and low >= 0 and not log:
        low = 0.0
    if low == high:
        low, high = (low / 2, high * 2) if log else (low - 0.5, high + 0.5)
    if log:
        return low / 1.15, high * 1.15
    pad = 0.05 * (high - low)
    return (low if low == 0 else low - pad), high + pad


def ticks(low: float, high: float, log: bool = False, count: int = 4) -> list[float]:
    """Round numbers between the two."""
    if log:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        fine = [m * 10.0**p for p in powers for m in (1, 2, 5)]
        inside = [t for t in fine if low <= t <= high]
        return [t for t in inside if f"{t:e}"[0] == "1"] if len(inside) > 6 else inside
    span = (high - low) or 1
    step = 10.0 ** math.floor(math.log10(span / count))
    step *= next(m for m in (1, 2, 2.5, 5, 10) if span / (step * m) <= count + 1)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def short(value: float) -> str:
    """A number in a few signs: 0.0123, 4.2, 1,200, 35k, 1.2M."""
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.3g}M"
    if size >= 1e4:
        return f"{value / 1e3:.3g}k"
    if size >= 1000:
        return f"{value:,.0f}"
    if 0 < size < 1e-3:
        return f"{value:.2g}"
    return f"{value:.3g}"
