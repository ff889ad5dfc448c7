"""Images of other sizes: interpolation, and channels exchanged for pixels.

Each way of interpolating is a sparse matrix for each dim (`_resizing`), made here from
the place in the input that each result is taken from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ...dtypes import uint8
from ...errors import ShapeError, message
from ...ops.declare import composed, room
from ...tensor import Tensor
from . import pooling
from ._resizing import Matrix, of_entries, resized
from ._sizes import ints, is_tensor, not_implemented

#: the dims between a result's place and the elements it is made of, by mode
_LINEAR = {"linear": 1, "bilinear": 2, "trilinear": 3}
_MODES = ("nearest", "nearest-exact", "area", "bicubic", *_LINEAR)
#: the slope of the cubic where it begins to overshoot
_CUBIC = -0.75


def _error(kind: type[Exception], got: str, expected: str, sentence: str) -> Exception:
    return kind(message("interpolate", got, expected, sentence))


# Matrices


@lru_cache(maxsize=512)
def _matrix(
    mode: str, size: int, results: int, factor: float | None, align_corners: bool
) -> Matrix:
    """Return the matrix of one dim. `factor` is the one that a user gave, if it counts.

    Source: the half-pixel convention, place j + 1/2 of the results is place
    (j + 1/2) / factor of the input; with aligned corners the outermost centres meet.
    """
    step = 1 / factor if factor else size / results
    places = np.arange(results)
    if mode.startswith("nearest"):
        # in float32, as PyTorch works out which element is nearest
        half = np.float32(0.5 if mode == "nearest-exact" else 0)
        at = np.floor((places.astype(np.float32) + half) * np.float32(step))
        index = np.minimum(at.astype(np.int64), size - 1)
        start = np.arange(results + 1)
        return Matrix(size, start, index, np.ones(results))
    if align_corners:
        at = places * ((size - 1) / (results - 1) if results > 1 else 0.0)
    else:
        at = (places + 0.5) * step - 0.5
    if mode == "bicubic":
        return of_entries(size, [_cubic(float(x), size) for x in at])
    at = np.maximum(at, 0.0)
    return of_entries(size, [_linear(float(x), size) for x in at])


def _linear(place: float, size: int) -> list[tuple[int, float]]:
    low = min(int(place), size - 1)
    share = place - low
    if low == size - 1:
        return [(low, 1.0)]
    return [(low, 1.0 - share), (low + 1, share)]


def _cubic(place: float, size: int) -> list[tuple[int, float]]:
    """Return four elements around a place, the edge repeated beyond the edge.

    Source: R. Keys (1981), Cubic convolution interpolation for digital image
    processing, IEEE Trans. Acoust. Speech Signal Process. 29(6).
    """
    low = math.floor(place)
    entries = []
    for k in range(low - 1, low + 3):
        d = abs(place - k)
        if d <= 1:
            share = ((_CUBIC + 2) * d - (_CUBIC + 3)) * d * d + 1
        else:
            share = ((d - 5) * d + 8) * d * _CUBIC - 4 * _CUBIC
        entries.append((min(max(k, 0), size - 1), share))
    return entries


# What users call


def _sizes(
    spatial: tuple[int, ...], size: Any, scale_factor: Any
) -> tuple[tuple[int, ...], tuple[float, ...] | None]:
    """Return the sizes of the result, and the factors if they were given."""
    if size is None and scale_factor is None:
        raise _error(
            ValueError,
            "neither size nor scale_factor",
            "one of them",
            "either size or scale_factor should be defined.",
        )
    if size is not None and scale_factor is not None:
        raise _error(
            ValueError,
            f"size={size} and scale_factor={scale_factor}",
            "one of them",
            "only one of size or scale_factor should be defined.",
        )
    given = scale_factor if size is None else size
    what = "scale_factor" if size is None else "output size"
    if not isinstance(given, Sequence):
        given = (given,) * len(spatial)
    if len(given) != len(spatial):
        raise _error(
            ValueError,
            f"{what} {tuple(given)} for images of {spatial}",
            f"{len(spatial)} of them",
            "Input and output must have the same number of spatial dimensions, but got "
            f"input with spatial dimensions of {list(spatial)} and {what} of "
            f"{tuple(given)}.",
        )
    if size is not None:
        return ints("interpolate", "size", given, len(spatial)), None
    factors = tuple(float(f) for f in given)
    sizes = tuple(math.floor(n * f) for n, f in zip(spatial, factors, strict=True))
    return sizes, factors


def _check_mode(nd: int, mode: str, align_corners: bool | None) -> None:
    if mode not in _MODES or nd not in (1, 2, 3):
        raise _error(
            NotImplementedError,
            f"mode={mode!r} for an input of {nd + 2} dims",
            "3 to 5 dims, one of " + ", ".join(_MODES),
            "Input Error: Only 3D, 4D and 5D input Tensors supported "
            f"(got {nd + 2}D) for the modes: nearest | linear | bilinear | bicubic | "
            f"trilinear | area | nearest-exact (got {mode}).",
        )
    wanted = 2 if mode == "bicubic" else _LINEAR.get(mode, nd)
    if wanted != nd:
        raise _error(
            NotImplementedError,
            f"mode={mode!r} for an input of {nd + 2} dims",
            f"{wanted + 2} dims",
            f"Got {nd + 2}D input, but {mode} mode needs {wanted + 2}D input.",
        )
    smooth = mode == "bicubic" or mode in _LINEAR
    if align_corners is not None and not smooth:
        raise _error(
            ValueError,
            f"align_corners={align_corners} and mode={mode!r}",
            "align_corners=None",
            "align_corners option can only be set with the interpolating modes: "
            "linear | bilinear | bicubic | trilinear.",
        )


@composed(
    "interpolate",
    room="nn.functional",
    names="keep",
    dtypes="float",
    samples=lambda make: [
        ((make(1, 2, 3), 5), {}),
        ((make(1, 1, 2, 3), (3, 5)), {"mode": "bilinear"}),
        ((make(1, 1, 3, 2),), {"scale_factor": 1.7, "mode": "nearest-exact"}),
        ((make(1, 1, 3), 5), {"mode": "linear", "align_corners": True}),
        ((make(1, 1, 3, 2), (4, 3)), {"mode": "bicubic"}),
        ((make(1, 1, 2, 2, 2), (3, 2, 3)), {"mode": "trilinear"}),
    ],
)
def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Return images of another size: `size`, or `scale_factor` times theirs.

    Modes: "nearest", "nearest-exact" (the same with half-pixel centres), "linear",
    "bilinear" and "trilinear" for one, two and three spatial dims, "bicubic" for two,
    "area" (means). With `align_corners` the centres of the outermost elements stay
    where they are. With `recompute_scale_factor` the ratio of sizes is used in place of
    the factor.

    Shapes: (N, C, *sizes) -> (N, C, *other sizes). Dtypes: floats; uint8 for "nearest".
    Raises: ValueError, sizes or options that do not fit; ShapeError, an empty image;
    NotImplementedError, a mode that is not there for these dims, antialias.

    >>> import numtensor as nt
    >>> x = nt.tensor([[[0.0, 1.0, 4.0]]])
    >>> nt.nn.functional.interpolate(x, size=5, mode="linear", align_corners=True)
    tensor([[[0.0000, 0.5000, 1.0000, 2.5000, 4.0000]]])
    """
    shape = tuple(is_tensor("interpolate", "input", input).shape)
    spatial, nd = shape[2:], len(shape) - 2
    _check_mode(nd, mode, align_corners)
    sizes, factors = _sizes(spatial, size, scale_factor)
    if antialias:
        raise _error(
            NotImplementedError,
            "antialias=True",
            "False",
            "Antialiasing is not there; average with avg_pool2d before.",
        )
    if recompute_scale_factor and size is not None:
        raise _error(
            ValueError,
            "size and recompute_scale_factor",
            "scale_factor",
            "recompute_scale_factor is not meaningful with an explicit size.",
        )
    if recompute_scale_factor:
        factors = None
    if 0 in shape[1:]:
        raise _error(
            ShapeError,
            f"an input of size {list(shape)}",
            "images that are not empty",
            f"Non-empty {nd + 2}D data tensor expected but got a tensor with sizes "
            f"{list(shape)}.",
        )
    if min(sizes) < 1:
        raise _error(
            ShapeError,
            f"sizes {sizes}",
            "1 or more",
            "Input and output sizes should be greater than 0, but got input "
            f"{spatial} output {sizes}.",
        )
    if mode == "area":
        means = {
            1: pooling.adaptive_avg_pool1d,
            2: pooling.adaptive_avg_pool2d,
            3: pooling.adaptive_avg_pool3d,
        }[nd]
        result: Tensor = means(input, sizes)
        return result
    if not input.is_floating_point() and not (
        input.dtype is uint8 and mode.startswith("nearest")
    ):
        raise not_implemented("interpolate", input, f"upsample_{mode}{nd}d")
    result = input
    # what shrinks goes first: there is less to do afterwards
    for d in sorted(range(nd), key=lambda d: sizes[d] / spatial[d]):
        factor = None if factors is None else factors[d]
        if sizes[d] == spatial[d] and (mode in _LINEAR or (mode, nd) == ("nearest", 2)):
            factor = None  # PyTorch copies such a dim, whatever the factor
        matrix = _matrix(mode, spatial[d], sizes[d], factor, bool(align_corners))
        result = resized(result, d + 2, matrix)
    return result


def _also(name: str, call: Callable[..., Tensor], doc: str) -> Callable[..., Tensor]:
    """Export a function that is another one with some arguments given."""
    call.__name__ = call.__qualname__ = name
    call.__doc__ = doc
    room("nn.functional")[name] = call
    return call


upsample = _also(
    "upsample",
    lambda input, size=None, scale_factor=None, mode="nearest", align_corners=None: (
        interpolate(input, size, scale_factor, mode, align_corners)
    ),
    "Return images of another size: the older name of `interpolate`.",
)
upsample_nearest = _also(
    "upsample_nearest",
    lambda input, size=None, scale_factor=None: interpolate(input, size, scale_factor),
    "Return images of another size, of the nearest elements: see `interpolate`.",
)
upsample_bilinear = _also(
    "upsample_bilinear",
    lambda input, size=None, scale_factor=None: interpolate(
        input, size, scale_factor, "bilinear", True
    ),
    "Return images of another size, bilinear with aligned corners: see `interpolate`.",
)


# Channels and pixels


def _shuffled(op: str, what: str, input: Any, factor: Any) -> tuple[int, ...]:
    shape = tuple(is_tensor(op, "input", input).shape)
    if len(shape) < 3:
        raise ShapeError(
            message(
                op,
                f"an input of {len(shape)} dims",
                "3 or more",
                f"{op} expects input to have at least 3 dimensions, but got input with "
                f"{len(shape)} dimension(s).",
            )
        )
    if ints(op, what, factor, 1)[0] < 1:
        raise ShapeError(
            message(
                op,
                f"{what}={factor}",
                "1 or more",
                f"{op} expects a positive {what}, but got {factor}.",
            )
        )
    return shape


@composed(
    "pixel_shuffle",
    room="nn.functional",
    names="drop",
    samples=lambda make: [((make(1, 4, 1, 2), 2), {})],
)
def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Return (*, C, H * r, W * r) from (*, C * r * r, H, W): channels become pixels.

    Raises: ShapeError, channels that are no multiple of r * r.

    >>> import numtensor as nt
    >>> nt.nn.functional.pixel_shuffle(nt.arange(4.0).reshape(4, 1, 1), 2)
    tensor([[[0., 1.],
             [2., 3.]]])
    """
    r = upscale_factor
    *front, c, h, w = _shuffled("pixel_shuffle", "upscale_factor", input, r)
    if c % (r * r):
        raise ShapeError(
            message(
                "pixel_shuffle",
                f"{c} channels and upscale_factor={r}",
                f"a multiple of {r * r} channels",
                "pixel_shuffle expects its input's 'channel' dimension to be divisible "
                f"by the square of upscale_factor, but input.size(-3)={c} is not "
                f"divisible by {r * r}.",
            )
        )
    n = len(front)
    apart = input.reshape(*front, c // (r * r), r, r, h, w)
    moved = apart.permute(*range(n), n, n + 3, n + 1, n + 4, n + 2)
    return moved.reshape(*front, c // (r * r), h * r, w * r)


@composed(
    "pixel_unshuffle",
    room="nn.functional",
    names="drop",
    samples=lambda make: [((make(1, 1, 2, 4), 2), {})],
)
def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """Return (*, C * r * r, H, W) from (*, C, H * r, W * r): pixels become channels.

    Raises: ShapeError, images whose sizes are no multiples of r.

    >>> import numtensor as nt
    >>> nt.nn.functional.pixel_unshuffle(nt.arange(4.0).reshape(1, 2, 2), 2).shape
    torch.Size([4, 1, 1])
    """
    r = downscale_factor
    *front, c, h, w = _shuffled("pixel_unshuffle", "downscale_factor", input, r)
    for name, dim, size in (("height", -2, h), ("width", -1, w)):
        if size % r:
            raise ShapeError(
                message(
                    "pixel_unshuffle",
                    f"a {name} of {size} and downscale_factor={r}",
                    f"a multiple of {r}",
                    f"pixel_unshuffle expects {name} to be divisible by "
                    f"downscale_factor, but input.size({dim})={size} is not divisible "
                    f"by {r}.",
                )
            )
    n = len(front)
    apart = input.reshape(*front, c, h // r, r, w // r, r)
    moved = apart.permute(*range(n), n, n + 2, n + 4, n + 1, n + 3)
    return moved.reshape(*front, c * r * r, h // r, w // r)
