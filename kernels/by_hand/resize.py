"""One dim of a tensor made longer or shorter: each result a weighted sum of elements.

The tensor is (outer, size, inner), contiguous; result j takes element `index[k]` times
`weight[k]` for k from `start[j]` to `start[j + 1]`. Text only.
"""

from __future__ import annotations

from ..tasks import Lines, Tasks
from .windows import split


def resize(dtype: str, last: bool, picks: bool) -> Tasks:
    """Pointers y, x, start, index, weight. A task is one element on a CUDA device.

    On the CPU a task is a row along the dim if that is the `last` one, else along the
    inner dims. `picks` says that each result is one element as it is.
    """

    def one(s: Lines, k: str) -> None:
        """Set y[to + k] for the inner index k; `first`, `end` and `line` are set."""
        if picks:
            s.add(f"y[to + {k}] = x[line + index[first] * inner + {k}]")
            return
        s.add(f"total = {dtype}(0)")
        s.open("for t in range(first, end):")
        s.add(f"total = fma(x[line + index[t] * inner + {k}], weight[t], total)")
        s.close()
        s.add(f"y[to + {k}] = total")

    def build(s: Lines) -> None:
        if not s.cuda and last:
            s.add("line = i * size")
            s.open("for j in range(results):")
            s.add("first = start[j]", "end = start[j + 1]", "to = i * results + j")
            one(s, "0")
            s.close()
            return
        parts = [("outer", ""), ("j", "results")]
        split(s, "i", [*parts, ("k", "inner")] if s.cuda else parts)
        s.add("first = start[j]", "end = start[j + 1]", "line = outer * size * inner")
        s.add("to = (outer * results + j) * inner")
        if s.cuda:
            one(s, "k")
            return
        if picks:
            s.open("for k in range(inner):")
            one(s, "k")
            s.close()
            return
        # sums by rows: the innermost loop runs over neighbours
        s.open("for k in range(inner):")
        s.add(f"y[to + k] = {dtype}(0)")
        s.close()
        s.open("for t in range(first, end):")
        s.add("at = line + index[t] * inner", "share = weight[t]")
        s.open("for k in range(inner):")
        s.add("y[to + k] = fma(x[at + k], share, y[to + k])")
        s.close()
        s.close()

    return Tasks(
        ("resize", dtype, last, picks),
        "resize",
        f"One dim of another size, {dtype}.",
        (("y", dtype), ("x", dtype), ("start", "int64"), ("index", "int64"),
         ("weight", dtype)),
        build,
        ("size", "results", "inner"),
    )  # fmt: skip
