"""A line search for the strong Wolfe conditions; gradients are passed through."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

#: loss, gradient, slope along the direction
Point = tuple[float, Any, float]

#: enough less loss, and enough less slope
_ARMIJO, _CURVATURE = 1e-4, 0.9


def cubic_minimum(
    x1: float,
    f1: float,
    g1: float,
    x2: float,
    f2: float,
    g2: float,
    bounds: tuple[float, float] | None = None,
) -> float:
    """Return where the cubic through two points with these slopes is least.

    Within `bounds`, or between the points; in the middle where it has no minimum.
    """
    low, high = bounds or (min(x1, x2), max(x1, x2))
    if x1 == x2:
        return (low + high) / 2.0
    d1 = g1 + g2 - 3 * (f1 - f2) / (x1 - x2)
    square = d1 * d1 - g1 * g2
    if not square >= 0:
        return (low + high) / 2.0
    d2 = math.sqrt(square)
    if x1 <= x2:
        near, far, here, there = x1, x2, g1, g2
    else:
        near, far, here, there = x2, x1, g2, g1
    span = there - here + 2 * d2
    if span == 0:
        return (low + high) / 2.0
    found = far - (far - near) * ((there + d2 - d1) / span)
    return min(max(found, low), high)


def strong_wolfe(
    probe: Callable[[float], Point],
    t: float,
    longest: float,
    start: Point,
    tolerance: float,
    most: int,
) -> tuple[float, Any, float, int]:
    """Find a step along a direction that meets the strong Wolfe conditions.

    `probe(t)` returns the loss, gradient and slope at step t; `start` is the same at 0.
    `longest` is the largest element of the direction. Returns loss, gradient, step, and
    how often the loss was computed.
    """
    loss, _, slope = start
    new = probe(t)
    count = 1
    at, before = 0.0, start
    bracket: list[tuple[float, Point]] = []
    done = False
    n = 0
    while n < most:
        f, _, g = new
        if f > loss + _ARMIJO * t * slope or (n > 1 and f >= before[0]):
            bracket = [(at, before), (t, new)]
            break
        if abs(g) <= -_CURVATURE * slope:
            bracket = [(t, new)]
            done = True
            break
        if g >= 0:
            bracket = [(at, before), (t, new)]
            break
        bounds = (t + 0.01 * (t - at), t * 10)
        further = cubic_minimum(at, before[0], before[2], t, f, g, bounds)
        at, before, t = t, new, further
        new = probe(t)
        count += 1
        n += 1
    if n >= most:
        bracket = [(0.0, start), (t, new)]
    little = False
    low = 0 if bracket[0][1][0] <= bracket[-1][1][0] else 1
    while not done and n < most:
        (a, pa), (b, pb) = bracket
        if abs(b - a) * longest < tolerance:
            break
        t = cubic_minimum(a, pa[0], pa[2], b, pb[0], pb[2])
        t, little = _inside(t, min(a, b), max(a, b), little)
        new = probe(t)
        count += 1
        n += 1
        f, _, g = new
        best = bracket[low]
        if f > loss + _ARMIJO * t * slope or f >= best[1][0]:
            bracket[1 - low] = (t, new)
            low = 0 if bracket[0][1][0] <= bracket[1][1][0] else 1
            continue
        if abs(g) <= -_CURVATURE * slope:
            done = True
        elif g * (bracket[1 - low][0] - best[0]) >= 0:
            bracket[1 - low] = best
        bracket[low] = (t, new)
    t, (f, gradient, _) = bracket[low if len(bracket) > 1 else 0]
    return f, gradient, t, count


def _inside(t: float, least: float, most: float, little: bool) -> tuple[float, bool]:
    """Keep a trial step away from the ends of the bracket, if it is near them twice or
    beyond; return it, and whether it was near."""
    margin = 0.1 * (most - least)
    if min(most - t, t - least) >= margin:
        return t, False
    if little or t >= most or t <= least:
        near_most = abs(t - most) < abs(t - least)
        return (most - margin if near_most else least + margin), False
    return t, True
