"""Expressions and what PyTorch makes of them, recorded in `tests/recorded/*.txt`.

A line is `expression -> outcome`. The outcome of a tensor is its elements, dtype,
shape, strides and storage offset; of anything else its repr; of an error `!!` and the
builtin exception that PyTorch's is or derives from, since messages are our own.
`python tests/recorded.py FILE` with PyTorch installed renews the outcomes of a file.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent / "recorded"
#: the classes that a program catches; NotImplementedError is a RuntimeError
ERRORS = (
    IndexError, TypeError, ValueError, OverflowError, AttributeError, RuntimeError,
)  # fmt: skip


def names(torch: Any) -> dict[str, Any]:
    """Return what expressions may use, made with the module `torch`."""

    def A(*shape: int) -> Any:  # 0., 1., ... in a shape
        return torch.arange(float(np.prod(shape))).reshape(*shape)

    def I(*shape: int) -> Any:  # noqa: E743 - the same in int64
        return torch.arange(int(np.prod(shape))).reshape(*shape)

    def after(x: Any, change: Any) -> Any:
        change(x)
        return x

    def put(x: Any, key: Any, value: Any) -> Any:
        x[key] = value
        return x

    return {
        "torch": torch,
        "np": np,
        "A": A,
        "I": I,
        "P": lambda: torch.tensor([[4.0, 1.0], [5.0, 3.0], [2.0, 1.0]]),
        "L": lambda: torch.ones(3, requires_grad=True),
        "after": after,
        "put": put,
    }


def outcome(expression: str, torch: Any) -> str | Exception:
    """Return what an expression gives as a line records it, or the error it raises."""
    try:
        result = eval(expression, names(torch))
    except Exception as error:
        return error
    if isinstance(result, torch.Tensor):
        return described(result)
    if isinstance(result, tuple | list) and result:
        first = result[0]
        if isinstance(first, torch.Tensor):
            return "; ".join(described(x) for x in result)
    return repr(result)


def described(x: Any) -> str:
    kind = str(x.dtype).removeprefix("torch.")
    text = f"{x.tolist()} {kind} {tuple(x.shape)} {x.stride()} {x.storage_offset()}"
    return text if x.grad_fn is None else f"{text} {x.grad_fn.name()}"


def lines(file: str) -> list[tuple[str, str]]:
    """Return the (expression, outcome) pairs of a file."""
    text = (FOLDER / f"{file}.txt").read_text()
    pairs = [line.split(" -> ", 1) for line in text.splitlines() if " -> " in line]
    return [(expression, expected) for expression, expected in pairs]


def check(expression: str, expected: str, torch: Any) -> None:
    """Compare an outcome with the recorded one. Raises: AssertionError."""
    got = outcome(expression, torch)
    if expected.startswith("!! "):
        (kind,) = [e for e in ERRORS if e.__name__ == expected[3:]]
        assert isinstance(got, kind), f"{got!r} where PyTorch raises {kind.__name__}"
    else:
        if isinstance(got, Exception):
            raise got
        assert got == expected


def main(file: str) -> None:
    import torch

    path = FOLDER / f"{file}.txt"
    found = []
    for line in path.read_text().splitlines():
        expression = line.split(" -> ")[0]
        if not expression or expression.startswith("#"):
            found.append(line)
            continue
        got = outcome(expression, torch)
        if isinstance(got, Exception):
            got = f"!! {next(e.__name__ for e in ERRORS if isinstance(got, e))}"
        found.append(f"{expression} -> {got}")
    path.write_text("\n".join(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
