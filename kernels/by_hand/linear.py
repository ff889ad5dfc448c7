"""The gradients of a small linear layer, with its bias; the way forward is `matmul`'s.

For the CPU: up to some thousand products a call of BLAS costs more than the work. All
operands are contiguous but the cotangent.
"""

from __future__ import annotations

from ..tasks import Lines, Tasks


def backward(dtype: str) -> Tasks:
    """Return the kernel of all gradients that a linear layer owes.

    Pointers: gx (n, k), gw (m, k), gb (m), g (n, m), x, w. Numbers: n, k, m, the
    strides of g, and `left`, `weights`, `biases`, the sizes n, m, m of the gradients
    that are wanted, 0 of others. The first `left` tasks are rows of gx, the others rows
    of gw and elements of gb.
    """

    def row(source: Lines, out: str, count: str, factor: str, other: str) -> None:
        # a row of sums, all its elements at once, so that the loop is one of vectors
        source.add(f"base = {'i' if out == 'gx' else 'r'} * k", "j = 0")
        source.add(f"f = {factor}")
        source.open("for c in range(k):")
        source.add(f"{out}[base + c] = f * {other}[c]")
        source.close()
        source.open(f"for j in range(1, {count}):")
        source.add(f"f = {factor}")
        source.open("for c in range(k):")
        source.add(f"{out}[base + c] = {out}[base + c] + f * {other}[j * k + c]")
        source.close()
        source.close()

    def build(source: Lines) -> None:
        source.open("if i < left:")
        row(source, "gx", "m", "g[i * rows + j * columns]", "w")
        source.close()
        source.open("else:")
        source.add("r = i - left")
        source.open("if weights != 0:")
        row(source, "gw", "n", "g[j * rows + r * columns]", "x")
        source.close()
        source.open("if biases != 0:")
        source.add(f"total = {source.word(dtype)}(0)")
        source.open("for j in range(n):")
        source.add("total = total + g[j * rows + r * columns]")
        source.close()
        source.add("gb[r] = total")
        source.close()
        source.close()

    return Tasks(
        ("linear_backward", dtype),
        "linear_backward",
        "The gradients of a linear layer: of its input, its weight and its bias.",
        tuple((name, dtype) for name in ("gx", "gw", "gb", "g", "x", "w")),
        build,
        ("n", "k", "m", "rows", "columns", "left", "weights", "biases"),
    )
