"""From shapes and strides to kernel calls, on whatever device the operands are.

A `Launch` is everything about a call that does not depend on addresses, worked out
once per combination of layouts: which form, which layout table, how many threads. It is
performed by `launch.run(launch.kernel, launch.n, *pointers, launch.table, *scalars)`.
Comes from `elementwise` and `reduce`; knows dtypes and strides, never Tensor or tape.
Kernels trust what they are given here, so shapes, dtypes and devices are checked before
anybody comes in. How it is done is in `launch_cpu` and `launch_cuda`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import launch_cpu
from .devices import CPU, Twin, device
from .dtypes import check_computes, find
from .kernels.tasks import Tasks
from .launch_parts import Body as Body
from .launch_parts import Input as Input
from .launch_parts import Reduced as Reduced
from .launch_parts import Steps as Steps
from .launch_parts import Strides as Strides


def elementwise(
    shape: Sequence[int],
    outputs: Sequence[tuple[str, Strides]],
    inputs: Sequence[Input],
    body: Body,
    on: device = CPU,
) -> Any:
    """Plan a nest that stores `body`'s results at every point of `shape`.

    `outputs` are (dtype, strides); strides of inputs have 0 where they broadcast.
    """
    if on is CPU:
        return launch_cpu.elementwise(shape, outputs, inputs, body)
    if type(on) is Twin:
        from . import launch_trace

        return launch_trace.elementwise(shape, outputs, inputs, body)
    from . import launch_cuda

    return launch_cuda.elementwise(shape, outputs, inputs, body, on)


def reduction(
    shape: Sequence[int],
    dims: frozenset[int],
    results: Sequence[Reduced],
    stores: Sequence[tuple[str, Strides]],
    inputs: Sequence[Input],
    body: Body,
    on: device = CPU,
) -> Steps:
    """Plan a nest that reduces `dims` of `shape`, and may store at every point too.

    Results are contiguous over the kept dims in their order. `body` returns the
    stored values, then the values to reduce. Pointers of `Steps.run`: stores,
    results, inputs.
    """
    if on is CPU:
        return launch_cpu.reduction(shape, dims, results, stores, inputs, body)
    if type(on) is Twin:
        from . import launch_trace

        return launch_trace.reduction(shape, dims, results, stores, inputs, body)
    from . import launch_cuda

    return launch_cuda.reduction(shape, dims, results, stores, inputs, body, on)


def arg_extreme(
    shape: Sequence[int],
    dims: Sequence[int],
    strides: Strides,
    dtype: str,
    largest: bool,
    on: device = CPU,
) -> Steps:
    """Plan the search for the place of the largest or smallest element.

    Pointers: values (contiguous over the kept dims), int64 places, the input. Places
    count the reduced dims in their order; of equal elements the first is found.
    """
    if on is CPU:
        call = launch_cpu.arg_extreme(shape, dims, strides, dtype, largest)
        return Steps([(call, [0, 1, 2])], [], 2)
    if type(on) is Twin:
        from . import launch_trace

        return launch_trace.arg_extreme(shape, dims, strides, dtype, largest)
    from . import launch_cuda

    return launch_cuda.arg_extreme(shape, dims, strides, dtype, largest, on)


def matmul(
    sizes: tuple[int, int, int],
    dtype: str,
    batch: tuple[int, ...],
    a: Strides,
    b: Strides,
    on: device,
) -> Any:
    """Plan products of stacks of matrices on a CUDA device.

    `sizes` are (rows, columns, depth); `a` and `b` are strides in the batch dims, then
    in the matrices. Pointers: the result, contiguous, then a and b.
    """
    if type(on) is Twin:
        from . import launch_trace

        return launch_trace.matmul(sizes, dtype, batch, a, b)
    from . import launch_cuda

    return launch_cuda.matmul(sizes, dtype, batch, a, b, on)


def by_tasks(
    wanted: Tasks,
    n: int,
    numbers: Sequence[int] = (),
    on: device = CPU,
    *,
    cost: int = 8,
) -> Any:
    """Plan a kernel written by hand as n tasks that do not depend on each other.

    `numbers` are the values of the kernel's table; on the CPU, `cost` is what one task
    costs in additions, by which threads are given work. It is performed by
    `call.run(call.kernel, call.n, *pointers, call.table, *scalars)`; with n = 0 it must
    not be. Plans are to be kept: making one costs more than running a small one.
    Raises: DTypeError, memory of float16, whose text reads and writes other dtypes.
    """
    check_computes(wanted.name, *[find(kind) for _, kind in wanted.pointers])
    if on is CPU:
        return launch_cpu.by_tasks(wanted, n, numbers, cost)
    if type(on) is Twin:
        from . import launch_trace

        return launch_trace.by_tasks(wanted, n, numbers, cost)
    from . import launch_cuda

    return launch_cuda.by_tasks(wanted, n, numbers, on)
