"""Reading a strided tensor whose dims may run backwards, row by row."""

from __future__ import annotations

from ..tasks import Lines, Tasks


def flipped(dtype: str, rank: int) -> Tasks:
    """Return the kernel that copies row i of a result.

    Table: where in x the result begins, the row's length and step in x, then for each
    of `rank` outer dims, innermost first, its size and step.
    """
    outer = [f"{what}{d}" for d in range(rank) for what in ("size", "step")]

    def build(s: Lines) -> None:
        s.add("place = first", "rest = i")
        for d in range(rank):
            if d < rank - 1:
                s.add(
                    f"quotient = udiv(rest, size{d})",
                    f"place += (rest - quotient * size{d}) * step{d}",
                    "rest = quotient",
                )
            else:
                s.add(f"place += rest * step{d}")
        s.open("for k in range(length):")
        s.add("out[i * length + k] = x[place + k * step]")
        s.close()

    return Tasks(
        ("flip", dtype, rank),
        f"flip_{rank}_{dtype}",
        f"Rows in reverse, {rank} outer dims, {dtype}.",
        (("out", dtype), ("x", dtype)),
        build,
        numbers=("first", "length", "step", *outer),
    )
