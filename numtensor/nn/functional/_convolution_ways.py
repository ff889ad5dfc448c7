"""Which kernels compute a convolution and its two gradients, found once per layout.

On CUDA devices, and for integers, one element after another. On the CPU:

- windows of one element that move by one: a product by BLAS, nothing laid out;
- long rows and few channels of the result, or a group for each channel: the direct
  kernel (`_convolution_direct`); the way back to the images, too, if the windows move
  by one;
- else columns of windows are laid out and multiplied by BLAS, as many images at a time
  as fit in a cache; for the gradient of the images, products are summed from columns.

The bounds were measured with float32 on two cores with AVX-512: at 8 elements a row
columns take half the time of the direct kernel, at 32 they are even for 16 channels a
group and take two thirds for 64; at 128 and few channels they take two to three times
as long. Knows layouts and memory, not the tape.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ... import launch
from ...kernels.by_hand import conv as texts
from ...layout import contiguous_strides
from ...memory import empty, result_of
from ...ops.products import Product
from ...spec import Spec, contiguous_spec, spec
from ...tensor import Tensor
from . import _convolution_direct as direct
from ._convolution_problem import Problem, Run, movement, simple, whole

#: bytes of columns that are laid out before they are multiplied
CHUNK_BYTES = 1 << 21
#: from this many positions on one product per image; below it images are joined
PER_IMAGE_FROM = 100
#: tasks that keep a GPU busy
GPU_TASKS = 1 << 16


def choose(kind: str, about: Problem, a: Spec, b: Spec, bias: bool) -> Run:
    """Return what computes "forward" (x, w, b), "input" (y, w) or "weight" (x, y)."""
    result = {"forward": "y", "input": "x", "weight": "w"}[kind]
    made = contiguous_spec(a.dtype, about.shapes[result], a.device)
    if not made.numel:
        return lambda *operands: empty(made)
    plain = a.device.type != "cpu" or not a.dtype.is_floating_point
    if plain or not a.numel or not b.numel:
        if kind == "forward":
            return _forward_by_points(about, made, a, bias)
        if kind == "input":
            return _input_by_points(about, made, a)
        return _weight_by_points(about, made, a, b)
    if kind == "forward":
        return _forward(about, made, a, bias)
    return (_input if kind == "input" else _weight)(about, made, a)


def _cost(about: Problem) -> int:
    """Return the additions that a row of the result costs."""
    return max(1, about.y[4] * about.w[1] * about.taps)


# One element after another


def _forward_by_points(about: Problem, made: Spec, x: Spec, bias: bool) -> Run:
    rows = made.numel if made.device.type != "cpu" else made.numel // about.y[4]
    call = launch.by_tasks(
        texts.forward(made.dtype.name, bias),
        rows,
        (*about.numbers, *about.channels, *about.strides(x)),
        made.device,
        cost=_cost(about),
    )

    def run(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        y, w = empty(made), whole(w)
        pointers = [y._pointer, x._pointer, w._pointer]
        if b is not None:
            b = whole(b)
            pointers.append(b._pointer)
        call.run(call.kernel, call.n, *pointers, call.table)
        return y

    return run


def _input_by_points(about: Problem, made: Spec, y: Spec) -> Run:
    rows = made.numel if made.device.type != "cpu" else made.numel // about.x[4]
    call = launch.by_tasks(
        texts.input_grad(made.dtype.name),
        rows,
        (*about.numbers, *about.channels, *about.strides(y)),
        made.device,
        cost=_cost(about),
    )

    def run(y: Tensor, w: Tensor) -> Tensor:
        x, w = empty(made), whole(w)
        call.run(call.kernel, call.n, x._pointer, y._pointer, w._pointer, call.table)
        return x

    return run


def _weight_by_points(about: Problem, made: Spec, x: Spec, y: Spec) -> Run:
    images = about.x[0]
    chunks = 1
    if made.device.type != "cpu":
        chunks = max(1, min(images, GPU_TASKS // made.numel))
    each = max(1, -(-images // chunks))
    chunks = max(1, -(-images // each))
    strides = (*about.strides(x), *about.strides(y))
    call = launch.by_tasks(
        texts.weight_grad(made.dtype.name),
        made.numel * chunks,
        (images, each, *about.numbers, *about.channels, *strides),
        made.device,
        cost=max(1, images * about.length),
    )
    parts = contiguous_spec(made.dtype, (chunks, *made.shape), made.device)

    def run(x: Tensor, y: Tensor) -> Tensor:
        w = empty(made if chunks == 1 else parts)
        call.run(call.kernel, call.n, w._pointer, x._pointer, y._pointer, call.table)
        return w if chunks == 1 else w.sum(0, dtype=made.dtype)

    return run


# The CPU: products by BLAS


def _adding_bias(about: Problem, made: Spec) -> Callable[[Tensor, Tensor], None]:
    call = launch.by_tasks(
        texts.add_bias(made.dtype.name),
        about.y[0] * about.y[1],
        (about.y[1], about.length),
        made.device,
        cost=about.length,
    )

    def add(y: Tensor, b: Tensor) -> None:
        b = whole(b)
        call.run(call.kernel, call.n, y._pointer, b._pointer, call.table)

    return add


def _fitting(images: int, each: int) -> int:
    """Return of how many images a chunk is: they take `each` bytes."""
    return max(1, min(images, CHUNK_BYTES // each))


def _steps(
    images: int, most: int, planned: Callable[[int], Product]
) -> list[tuple[int, int, Product]]:
    """Return first image, count of images and product of each chunk."""
    known = {k: planned(k) for k in {most, images % most} if k}
    counts = [(k, min(most, images - k)) for k in range(0, images, most)]
    return [(first, count, known[count]) for first, count in counts]


class _Columns:
    """Columns of some images at a time.

    `joined`: the images stand side by side in one matrix, else each has its own.
    """

    def __init__(self, about: Problem, made: Spec, joined: bool = False) -> None:
        n, length = about.y[0], about.length
        self.rows = about.x[1] * about.taps
        each = self.rows * length * made.itemsize
        self.images = _fitting(n, each)
        shape = (self.images, self.rows, length)
        self.to = (self.rows * length, length)
        if joined:
            shape = (self.rows, self.images, length)
            self.to = (length, self.images * length)
        self.made = contiguous_spec(made.dtype, shape, made.device)

    def laid_out(self, about: Problem, x: Spec) -> Callable[..., None]:
        """Return fill(columns, x, first, images)."""
        strides = about.strides(x)
        call = launch.by_tasks(
            texts.columns(x.dtype.name, movement(about, strides)),
            about.x[1] * self.images,
            (*about.numbers, about.x[1], *self.to, *strides),
            x.device,
            cost=about.length * about.taps,
        )
        step = strides[0] * x.itemsize

        def fill(columns: Tensor, x: Tensor, first: int, images: int) -> None:
            at = x._pointer + first * step
            call.run(call.kernel, about.x[1] * images, columns._pointer, at, call.table)

        return fill

    def summed(self, about: Problem, x: Spec) -> Callable[..., None]:
        """Return sum_up(x, columns, first, images)."""
        windows = movement(about, contiguous_strides(about.x))
        image = math.prod(about.x[1:])
        tasks = about.x[1] if windows == texts.FLAT else image // about.x[4]
        call = launch.by_tasks(
            texts.add_columns(x.dtype.name, windows),
            tasks * self.images,
            (*about.numbers, about.x[1], *self.to, 1),
            x.device,
            cost=image // tasks * about.taps,
        )

        def sum_up(x: Tensor, columns: Tensor, first: int, images: int) -> None:
            at = x._pointer + first * image * x._spec.itemsize
            call.run(call.kernel, tasks * images, at, columns._pointer, call.table)

        return sum_up


class _Matrices:
    """w as a matrix for each group, and a matrix for each image and group of the rest.

    Strides are those of image, group, row and column; w is the same for all images.
    `x` is laid out as columns or, if windows are single elements, as it comes.
    """

    def __init__(self, about: Problem) -> None:
        self.groups, length = about.groups, about.length
        self.depth = about.w[1] * about.taps
        self.own = about.y[1] // about.groups
        self.length = length
        self.w = (0, self.own * self.depth, self.depth, 1)
        x, y = self.depth * length, self.own * length
        self.x = (self.groups * x, x, length, 1)
        self.y = (self.groups * y, y, length, 1)


def _products(
    made: Spec,
    images: int,
    groups: int,
    sizes: tuple[int, int, int],
    a: tuple[int, ...],
    b: tuple[int, ...],
) -> Product:
    """Plan products of (rows, columns, depth) `sizes` for each group of some images."""
    shape = (images, groups, *sizes[:2])
    out = contiguous_spec(made.dtype, shape, made.device)
    return Product(out, shape[:2], sizes, a, b)


def _turned(strides: tuple[int, ...]) -> tuple[int, ...]:
    return (*strides[:2], strides[3], strides[2])


def _forward(about: Problem, made: Spec, x: Spec, bias: bool) -> Run:
    if direct.suits(about):
        return direct.forward(about, made, x, bias)
    known = _Matrices(about)
    sizes = (known.own, known.length, known.depth)
    add = _adding_bias(about, made) if bias else None

    def planned(images: int) -> Product:
        return _products(made, images, known.groups, sizes, known.w, known.x)

    if simple(about):
        multiply = planned(about.y[0])

        def run_simple(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
            y, w, x = empty(made), whole(w), whole(x)
            multiply.at(y._pointer, w._pointer, x._pointer)
            if add is not None and b is not None:
                add(y, b)
            return y

        return run_simple
    columns = _Columns(about, made)
    fill = columns.laid_out(about, x)
    steps = _steps(about.y[0], columns.images, planned)
    image = known.y[0] * made.itemsize

    def run(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        y, scratch, w = empty(made), empty(columns.made), whole(w)
        laid, weights = scratch._pointer, w._pointer
        for first, images, multiply in steps:
            fill(scratch, x, first, images)
            multiply.at(y._pointer + first * image, weights, laid)
        if add is not None and b is not None:
            add(y, b)
        return y

    return run


def _input(about: Problem, made: Spec, y: Spec) -> Run:
    if set(about.stride) == {1} and not simple(about):
        turned = direct.turned(about)
        if direct.suits(turned):
            return direct.back(about, turned, made, y)
    known = _Matrices(about)
    sizes = (known.depth, known.length, known.own)
    weights = _turned(known.w)

    def planned(images: int) -> Product:
        return _products(made, images, known.groups, sizes, weights, known.y)

    if simple(about):
        multiply = planned(about.y[0])

        def run_simple(y: Tensor, w: Tensor) -> Tensor:
            x, y, w = empty(made), whole(y), whole(w)
            multiply.at(x._pointer, w._pointer, y._pointer)
            return x

        return run_simple
    columns = _Columns(about, made)
    sum_up = columns.summed(about, made)
    steps = _steps(about.y[0], columns.images, planned)
    image = known.y[0] * made.itemsize

    def run(y: Tensor, w: Tensor) -> Tensor:
        x, scratch, y, w = empty(made), empty(columns.made), whole(y), whole(w)
        for first, images, multiply in steps:
            multiply.at(scratch._pointer, w._pointer, y._pointer + first * image)
            sum_up(x, scratch, first, images)
        return x

    return run


def _weight(about: Problem, made: Spec, x: Spec) -> Run:
    if about.length < PER_IMAGE_FROM:
        return _weight_joined(about, made, x)
    return _weight_by_images(about, made, x)


def _weight_joined(about: Problem, made: Spec, x: Spec) -> Run:
    """Multiply images that stand side by side, so that a product sums over them."""
    known = _Matrices(about)
    columns = _Columns(about, made, True)
    fill = columns.laid_out(about, x)
    width = columns.to[1]
    laid = (0, known.depth * width, width, 1)
    turn = _turning(known, made)
    part = contiguous_spec(
        made.dtype, (known.groups, known.depth, known.own), made.device
    )

    def planned(images: int) -> Product:
        places = images * known.length
        sizes = (known.depth, known.own, places)
        given = (0, known.own * places, 1, places)
        return _products(made, 1, known.groups, sizes, laid, given)

    steps = _steps(about.y[0], columns.images, planned)

    def run(x: Tensor, y: Tensor) -> Tensor:
        scratch = empty(columns.made)
        total: Tensor | None = None
        for first, images, multiply in steps:
            fill(scratch, x, first, images)
            given, product = _side_by_side(about, y, first, images), empty(part)
            multiply.at(product._pointer, scratch._pointer, given._pointer)
            total = product if total is None else total.add_(product)
        assert total is not None  # x is not empty
        return turn(total)

    return run


def _weight_by_images(about: Problem, made: Spec, x: Spec) -> Run:
    """Multiply image by image, and sum the products of some images at a time."""
    known = _Matrices(about)
    sizes = (known.depth, known.own, known.length)
    as_is = simple(about)
    columns = _Columns(about, made)
    fill = None if as_is else columns.laid_out(about, x)
    most = _fitting(about.y[0], made.nbytes) if as_is else columns.images
    turn = _turning(known, made)
    shape = (known.groups, known.depth, known.own)

    def planned(images: int) -> Product:
        y = _turned(known.y)
        return _products(made, images, known.groups, sizes, known.x, y)

    steps = [
        (
            first,
            images,
            multiply,
            contiguous_spec(made.dtype, (images, *shape), made.device),
        )
        for first, images, multiply in _steps(about.y[0], most, planned)
    ]
    image_x, image_y = known.x[0] * made.itemsize, known.y[0] * made.itemsize

    def run(x: Tensor, y: Tensor) -> Tensor:
        x, y = whole(x) if as_is else x, whole(y)
        scratch = None if fill is None else empty(columns.made)
        total: Tensor | None = None
        for first, images, multiply, several in steps:
            at = x._pointer + first * image_x
            if fill is not None and scratch is not None:
                fill(scratch, x, first, images)
                at = scratch._pointer
            products = empty(several)
            multiply.at(products._pointer, at, y._pointer + first * image_y)
            part = products.sum(0)
            total = part if total is None else total.add_(part)
        assert total is not None  # x is not empty
        return turn(total)

    return run


def _turning(known: _Matrices, made: Spec) -> Callable[[Tensor], Tensor]:
    """Return what turns sums (group, depth, own) to the shape of w.

    BLAS takes a quarter less time for the larger of the two dims in front.
    """
    view = spec(
        made.dtype,
        (known.groups, known.own, known.depth),
        (known.own * known.depth, 1, known.own),
        made.device,
    )

    def turn(sums: Tensor) -> Tensor:
        w = result_of(sums._storage, sums._pointer, view).contiguous()
        return result_of(w._storage, w._pointer, made)

    return turn


def _side_by_side(about: Problem, y: Tensor, first: int, images: int) -> Tensor:
    """Return some images as a matrix (channel, image and place)."""
    strides = about.strides(y._spec)
    shape = (about.y[1], images, *about.y[2:])
    steps = (strides[1], strides[0], *strides[2:])
    place = spec(y.dtype, shape, steps, y._spec.device)
    start = y._pointer + first * strides[0] * place.itemsize
    return result_of(y._storage, start, place).contiguous()
