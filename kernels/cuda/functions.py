"""Functions that libdevice lacks, as expressions of those that it has.

Everything else prints as a call: of libdevice on the GPU, of NumPy in the simulator.
"""

from __future__ import annotations

from collections.abc import Callable

from ..expr import Expr, apply, const


def _sigmoid(x: Expr) -> Expr:
    # exp overflows to inf where the result is 0 to within a subnormal number
    return const(1, x.dtype) / (apply("exp", -x) + const(1, x.dtype))


EXPANSIONS: dict[str, Callable[..., Expr]] = {"sigmoid": _sigmoid}


def expand(name: str, args: tuple[Expr, ...]) -> Expr | None:
    """Return function `name` of `args` as other functions, or None for a call."""
    function = EXPANSIONS.get(name)
    return None if function is None else function(*args)
