"""Pooling: the largest, the mean or the norm of windows, in one, two and three dims.

What users call, and the checks with PyTorch's sentences; what is computed is in
`_pooling`. Functions of one, two and three dims are made from one text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...errors import ShapeError, message
from ...ops.declare import composed, room
from ...tensor import Tensor
from . import _pooling
from ._convolution import problem
from ._convolution_problem import MOST, Problem
from ._sizes import by, ints, is_tensor, not_implemented

_calls: dict[Any, Any] = {}
#: of windows: their elements are counted
_LARGEST = 2**31 - 1


def _error(op: str, got: str, expected: str, sentence: str) -> ShapeError:
    return ShapeError(message(op, got, expected, sentence))


def _kept(key: Any, make: Any) -> Any:
    """Return what was made for these specs and parameters; lists are not kept."""
    try:
        found = _calls.get(key)
    except TypeError:
        return make()
    if found is None:
        if len(_calls) > MOST:
            _calls.clear()
        found = _calls[key] = make()
    return found


def _images(op: str, nd: int, input: Any) -> tuple[int, ...]:
    """Check a tensor of images; return their sizes."""
    is_tensor(op, "input", input)
    shape = tuple(input.shape)
    if len(shape) not in (nd + 1, nd + 2) or 0 in shape[-nd - 1 :]:
        raise _error(
            op,
            f"an input of size {list(shape)}",
            f"{nd + 1} or {nd + 2} dims, not empty but for the batch",
            f"Expected {nd + 1}D or {nd + 2}D (batch mode) tensor with optional 0 dim "
            f"batch size for input, but got: {list(shape)}.",
        )
    if input.dtype.name == "bool":
        raise not_implemented(op, input)
    return shape


def _windows(
    op: str,
    nd: int,
    input: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
) -> Problem:
    """Check a pooling with windows of one size, and say what is to be computed."""
    shape = _images(op, nd, input)
    kernel = ints(op, "kernel_size", kernel_size, nd)
    steps = kernel
    if stride is not None and not (isinstance(stride, Sequence) and not stride):
        steps = ints(op, "stride", stride, nd)
    pads = ints(op, "padding", padding, nd)
    gaps = ints(op, "dilation", dilation, nd)
    if min(kernel) < 1:
        raise _error(
            op,
            f"kernel_size={kernel}",
            "1 or more",
            f"kernel size should be greater than zero, but got {kernel}.",
        )
    if min(steps) < 1:
        raise _error(
            op,
            f"stride={steps}",
            "1 or more",
            f"stride should not be zero, and not negative, but got {steps}.",
        )
    if min(gaps) < 1:
        raise _error(
            op,
            f"dilation={gaps}",
            "1 or more",
            f"dilation should be greater than zero, but got {gaps}.",
        )
    if min(pads) < 0:
        raise _error(
            op,
            f"padding={pads}",
            "0 or more",
            f"pad must be non-negative, but got pad: {min(pads)}.",
        )
    largest = max(*kernel, *steps, *pads, *gaps)
    if largest > _LARGEST:
        raise _error(
            op,
            f"a size, stride, padding or dilation of {largest}",
            f"{_LARGEST} at most",
            "value cannot be converted to type int without overflow.",
        )
    for k, p, g in zip(kernel, pads, gaps, strict=True):
        if 2 * p > (k - 1) * g + 1:
            raise _error(
                op,
                f"padding={pads} and kernel_size={kernel}",
                "half a kernel at most",
                "pad should be at most half of effective kernel size, but got "
                f"pad={p}, kernel_size={k} and dilation={g}.",
            )
    out = [
        _results(size, k, s, p, g, ceil_mode)
        for size, k, s, p, g in zip(shape[-nd:], kernel, steps, pads, gaps, strict=True)
    ]
    if min(out) < 1:
        size = "x".join(str(s) for s in shape[-nd - 1 :])
        made = "x".join(str(s) for s in (shape[-nd - 1], *out))
        raise _error(
            op,
            f"input {shape} and kernel_size={kernel}",
            f"images of {by(kernel)} or more",
            f"Given input size: ({size}). Calculated output size: ({made}). Output "
            "size is too small.",
        )
    result = (*shape[:-nd], *out)
    return problem(nd, shape, (1, 1, *kernel), result, steps, pads, gaps, 1)


def _results(size: int, k: int, s: int, p: int, g: int, ceil_mode: bool) -> int:
    """Return how many windows there are along a dim."""
    room = size + 2 * p - g * (k - 1) - 1
    if not ceil_mode:
        return room // s + 1
    count = -(-room // s) + 1
    # the last window must begin inside the image or its left padding
    return count - 1 if (count - 1) * s >= size + p else count


def _adaptive(op: str, nd: int, input: Any, output_size: Any) -> Problem:
    """Check an adaptive pooling, and say what is to be computed."""
    is_tensor(op, "input", input)
    shape = tuple(input.shape)
    if len(shape) not in (nd + 1, nd + 2):
        raise _error(
            op,
            f"an input of size {list(shape)}",
            f"{nd + 1} or {nd + 2} dims",
            f"{op}(): Expected {nd + 1}D or {nd + 2}D tensor, but got {list(shape)}.",
        )
    for d in range(len(shape) - nd, len(shape)):
        if shape[d] == 0:
            raise _error(
                op,
                f"an input of size {list(shape)}",
                "images that are not empty",
                f"{op}(): Expected input to have non-zero size for non-batch "
                f"dimensions, but input has sizes {list(shape)} with dimension {d} "
                "being empty.",
            )
    if not input.is_floating_point():
        raise not_implemented(op, input)
    sizes = output_size
    if isinstance(sizes, (tuple, list)):
        if len(sizes) == nd:
            pairs = zip(sizes, shape[-nd:], strict=True)
            sizes = [size if own is None else own for own, size in pairs]
    elif sizes is None:
        sizes = shape[-nd:]
    out = ints(op, "output_size", sizes, nd)
    if min(out) < 0:
        raise _error(
            op,
            f"output_size={out}",
            "0 or more",
            f"{op}: elements of output_size must be greater than or equal to 0 but "
            f"received {list(out)}.",
        )
    result = (*shape[:-nd], *out)
    ones = (1,) * nd
    return problem(nd, shape, (1, 1, *ones), result, ones, (0,) * nd, ones, 1)


# The largest


def _max_pool(
    nd: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    key = (
        "max", nd, getattr(input, "_spec", None), kernel_size, stride, padding,
        dilation, ceil_mode,
    )  # fmt: skip
    about = _kept(
        key,
        lambda: _windows(
            f"max_pool{nd}d", nd, input, kernel_size, stride, padding, dilation,
            ceil_mode,
        ),
    )  # fmt: skip
    y, where = _pooling.largest(about, input, False, return_indices)
    return (y, where) if return_indices else y


def _samples(nd: int, **more: Any) -> Any:
    def samples(make: Any) -> list[Any]:
        size = (4, 3, 2)[:nd]
        return [
            ((make(2, *size), 2), {}),
            ((make(1, 2, *(5, 2, 3)[:nd]), 2, 2, 1), {"ceil_mode": True, **more}),
        ]

    return samples


def _doc(nd: int, first: str, rest: str) -> str:
    sizes = ("L", "H, W", "D, H, W")[nd - 1]
    images = ("rows", "images", "volumes")[nd - 1]
    shapes = f"Shapes: input (N, C, {sizes}) or (C, {sizes}) -> the same, other sizes."
    return f"{first.format(images=images)}\n\n{shapes}\n{rest}"


_WINDOW_TEXT = """\
Sizes are one integer, or one for each dim; without `stride`, windows do not overlap.
With `ceil_mode` a last window may reach over the edge.
"""


_MAX_TEXT = """\
`return_indices` adds the place of each, counted in its plane, as int64. NaN is larger
than any number; the padding is never taken.
Dtypes: floats and integers, themselves. Raises: ShapeError, DTypeError.
"""


def _make_max_pool(nd: int) -> Any:
    def call(
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Any:
        return _max_pool(
            nd, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
        )

    call.__name__ = call.__qualname__ = f"max_pool{nd}d"
    call.__doc__ = _doc(
        nd,
        "Return the largest element of each window of {images}.",
        _WINDOW_TEXT + _MAX_TEXT,
    )
    declare = composed(
        f"max_pool{nd}d", room="nn.functional", names="keep", samples=_samples(nd),
        dtypes="number",
    )  # fmt: skip
    room("nn.functional")[f"max_pool{nd}d_with_indices"] = _with_indices(nd)
    return declare(call)


def _with_indices(nd: int) -> Any:
    def call(
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Any:
        """Return the largest element of each window, and its place in the plane."""
        return _max_pool(
            nd, input, kernel_size, stride, padding, dilation, ceil_mode, True
        )

    call.__name__ = call.__qualname__ = f"max_pool{nd}d_with_indices"
    return call


def _make_adaptive_max_pool(nd: int) -> Any:
    op = f"adaptive_max_pool{nd}d"

    def call(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
        key = ("adaptive max", nd, getattr(input, "_spec", None), output_size)
        about = _kept(key, lambda: _adaptive(op, nd, input, output_size))
        y, where = _pooling.largest(about, input, True, return_indices)
        return (y, where) if return_indices else y

    call.__name__ = call.__qualname__ = op
    call.__doc__ = _doc(
        nd,
        "Return the largest elements of windows that cut {images} into `output_size`.",
        """\
A size of None is that of the input. `return_indices` adds places, as `max_pool` does.
Dtypes: floats. Raises: ShapeError, DTypeError.
""",
    )
    return composed(
        op, room="nn.functional", names="keep", dtypes="float",
        samples=lambda make: [((make(2, *(5, 3, 2)[:nd]), (3, 2, 1)[:nd]), {})],
    )(call)  # fmt: skip


max_pool1d, max_pool2d, max_pool3d = (_make_max_pool(nd) for nd in (1, 2, 3))
adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d = (
    _make_adaptive_max_pool(nd) for nd in (1, 2, 3)
)


# Means


def _avg_pool(
    nd: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    op = f"avg_pool{nd}d"

    def make() -> Any:
        about = _windows(op, nd, input, kernel_size, stride, padding, 1, ceil_mode)
        if divisor_override == 0:
            raise _error(op, "divisor_override=0", "1 or more", "divisor must be not "
                         "zero.")  # fmt: skip
        count = "all" if count_include_pad else "inside"
        divisor = 0
        if divisor_override is not None:
            (divisor,) = ints(op, "divisor_override", divisor_override, 1)
            count = "given"
        return about, (count, divisor, False)

    key = (
        "mean", nd, getattr(input, "_spec", None), kernel_size, stride, padding,
        ceil_mode, count_include_pad, divisor_override,
    )  # fmt: skip
    about, way = _kept(key, make)
    return _pooling.average(about, input, way)


_MEAN_TEXT = """\
The sum of a window is divided by its elements, those of the padding among them unless
`count_include_pad` is False{override}.
Dtypes: floats and integers, themselves. Raises: ShapeError, DTypeError.
"""


def _make_avg_pool(nd: int) -> Any:
    def call(
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Tensor:
        return _avg_pool(
            nd, input, kernel_size, stride, padding, ceil_mode, count_include_pad,
            divisor_override,
        )  # fmt: skip

    def without(
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> Tensor:
        return call(input, kernel_size, stride, padding, ceil_mode, count_include_pad)

    public = without if nd == 1 else call
    public.__name__ = public.__qualname__ = f"avg_pool{nd}d"
    override = "" if nd == 1 else ", or by `divisor_override`"
    public.__doc__ = _doc(
        nd,
        "Return the mean of each window of {images}.",
        _WINDOW_TEXT + _MEAN_TEXT.format(override=override),
    )
    return composed(
        f"avg_pool{nd}d", room="nn.functional", names="keep", dtypes="number",
        samples=_samples(nd, count_include_pad=False),
    )(public)  # fmt: skip


def _make_adaptive_avg_pool(nd: int) -> Any:
    op = f"adaptive_avg_pool{nd}d"

    def call(input: Tensor, output_size: Any) -> Tensor:
        key = ("adaptive mean", nd, getattr(input, "_spec", None), output_size)
        about = _kept(key, lambda: _adaptive(op, nd, input, output_size))
        return _pooling.average(about, input, ("inside", 0, True))

    call.__name__ = call.__qualname__ = op
    call.__doc__ = _doc(
        nd,
        "Return the means of windows that cut {images} into `output_size`.",
        """\
A size of None is that of the input. Window k of n along a dim of size s goes from
k s // n to (k + 1) s / n, rounded up.
Dtypes: floats. Raises: ShapeError, DTypeError.
""",
    )
    return composed(
        op, room="nn.functional", names="keep", dtypes="float",
        samples=lambda make: [((make(2, *(5, 3, 2)[:nd]), (3, 2, 1)[:nd]), {})],
    )(call)  # fmt: skip


avg_pool1d, avg_pool2d, avg_pool3d = (_make_avg_pool(nd) for nd in (1, 2, 3))
adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d = (
    _make_adaptive_avg_pool(nd) for nd in (1, 2, 3)
)


# Norms


def _make_lp_pool(nd: int) -> Any:
    op = f"lp_pool{nd}d"

    def call(
        input: Tensor,
        norm_type: float,
        kernel_size: Any,
        stride: Any = None,
        ceil_mode: bool = False,
    ) -> Tensor:
        count = math.prod(ints(op, "kernel_size", kernel_size, nd))
        powers = is_tensor(op, "input", input).pow(norm_type)
        mean = _avg_pool(nd, powers, kernel_size, stride, 0, ceil_mode, True, None)
        total = mean.sign() * mean.abs().relu() * count
        return total.pow(1.0 / norm_type)

    call.__name__ = call.__qualname__ = op
    call.__doc__ = _doc(
        nd,
        "Return the norm of order `norm_type` of each window of {images}.",
        """\
That is the sum of the window's elements to the power of `norm_type`, to the power of
1 / norm_type: no absolute values are taken of the elements.
Dtypes: floats. Raises: ShapeError, DTypeError.
""",
    )
    return composed(
        op, room="nn.functional", names="keep", dtypes="float",
        samples=lambda make: [((make(2, *(4, 3, 2)[:nd]), 2, 2), {})],
    )(call)  # fmt: skip


lp_pool1d, lp_pool2d, lp_pool3d = (_make_lp_pool(nd) for nd in (1, 2, 3))
