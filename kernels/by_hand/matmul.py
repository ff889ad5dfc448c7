"""Small matrix products on the CPU: up to some thousand products a call of BLAS costs
more than the work.

Task i is row i of the result, which is contiguous. The text depends on how the second
matrix lies: by columns, some next to each other at once, or along the depth, where each
element of the result is a sum in vectors.
"""

from __future__ import annotations

from ..tasks import Lines, Tasks

#: sizes of the second matrix, strides of both, then those of stacks of them
NUMBERS = ("m", "k", "a_row", "a_depth", "b_depth", "b_column")
STACKED = ("n", "a_stack", "b_stack")


def _starts(source: Lines, stacked: bool) -> None:
    """Where in a the row begins, and where b does."""
    if stacked:
        source.add("stack = udiv(i, n)")
        source.add("a0 = stack * a_stack + (i - stack * n) * a_row")
        source.add("b0 = stack * b_stack")
    else:
        source.add("a0 = i * a_row", "b0 = 0")
    source.add("out0 = i * m")


def _tasks(key: str, dtype: str, stacked: bool, build: object, bias: bool) -> Tasks:
    names = ("out", "a", "b", "bias") if bias else ("out", "a", "b")
    return Tasks(
        ("matmul", key, dtype, stacked, bias),
        "matmul",
        "A small matrix product, by rows of the result.",
        tuple((name, dtype) for name in names),
        build,  # type: ignore[arg-type]
        NUMBERS + STACKED if stacked else NUMBERS,
        packed=True,
    )


def by_columns(dtype: str, width: int, unit: bool, stacked: bool = False) -> Tasks:
    """Return the kernel that computes `width` elements of a row at once.

    `unit`: columns of b are next to each other. There must be at least `width` columns:
    where they are no multiple of it, the last ones overlap those before.
    Pointers: out, a, b.
    """
    lanes = range(width)

    def build(source: Lines) -> None:
        _starts(source, stacked)
        source.add("j = 0")
        source.open("while j < m:")
        if width > 1:
            source.open(f"if j + {width} > m:")
            source.add(f"j = m - {width}")
            source.close()
        source.add(*(f"s{w} = {source.word(dtype)}(0)" for w in lanes))
        source.open("for c in range(k):")
        source.add("f = a[a0 + c * a_depth]")
        source.add(f"p = b0 + c * b_depth + {'j' if unit else 'j * b_column'}")
        step = "" if unit else " * b_column"
        source.add(*(f"s{w} = fma(f, b[p + {w}{step}], s{w})" for w in lanes))
        source.close()
        source.add(*(f"out[out0 + j + {w}] = s{w}" for w in lanes))
        source.add(f"j = j + {width}")
        source.close()

    return _tasks(f"columns {width} {unit}", dtype, stacked, build, False)


def by_depth(dtype: str, stacked: bool = False, bias: bool = False) -> Tasks:
    """Return the kernel for matrices that both are contiguous along the depth.

    Pointers: out, a, b, and a bias of one element for each column. The CPU's word
    `plus` lets the sums be done in vectors.
    """

    def build(source: Lines) -> None:
        source.word("plus")
        _starts(source, stacked)
        source.open("for j in range(m):")
        source.add(f"total = {source.word(dtype)}(0)", "p = b0 + j * b_column")
        source.open("for c in range(k):")
        source.add("total = plus(total, a[a0 + c] * b[p + c])")
        source.close()
        source.add(f"out[out0 + j] = total{' + bias[j]' if bias else ''}")
        source.close()

    return _tasks("depth", dtype, stacked, build, bias)
