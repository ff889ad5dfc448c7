"""Products of matrices by a BLAS, as a kernel whose tasks are parts of the results.

The address of the BLAS's function comes with the call: which library has it, and how
many threads of its own it may use, is not known here. Text only.
"""

from __future__ import annotations

#: what the kernel's table holds
NUMBERS = (
    "function", "n", "m", "k", "parts", "by_rows", "turn_a", "lda", "turn_b", "ldb",
    "row_a", "column_b", "inner", "outer_a", "outer_b", "stack_a", "stack_b",
)  # fmt: skip

_TEXT = '''"""Matrix products by BLAS, {dtype}: a task is some rows or columns."""

from numtensor.kernels.blas_words import gemm_{dtype}
from numtensor.kernels.lang import (
    pointer,
    scalar,
)

out_at = scalar("int64", 0)
a_at = scalar("int64", 1)
b_at = scalar("int64", 2)
table_at = pointer("int64", 3)


def products_{dtype}(args, lo, hi):
    out = out_at(args)
    a = a_at(args)
    b = b_at(args)
    table = table_at(args)
{reads}
    for i in range(lo, hi):
        stack = i // parts
        part = i % parts
        outer = stack // inner
        place = stack % inner
        top = 0
        rows = n
        left = 0
        columns = m
        if by_rows != 0:
            top = n * part // parts
            rows = n * (part + 1) // parts - top
        else:
            left = m * part // parts
            columns = m * (part + 1) // parts - left
        gemm_{dtype}(
            function, turn_a, turn_b, rows, columns, k,
            a + {size} * (outer * outer_a + place * stack_a + top * row_a), lda,
            b + {size} * (outer * outer_b + place * stack_b + left * column_b), ldb,
            out + {size} * (stack * n * m + top * m + left), m,
        )
'''


def emit(dtype: str) -> tuple[str, str]:
    """Return the name and the source of the kernel. Slots: out, a, b, the table."""
    reads = "\n".join(f"    {name} = table[{k}]" for k, name in enumerate(NUMBERS))
    size = {"float32": 4, "float64": 8}[dtype]
    return f"products_{dtype}", _TEXT.format(dtype=dtype, reads=reads, size=size)
