"""Numbers into text: how a tensor looks when it is printed.

In come NumPy arrays and plain words (the dtype's name, the gradient function's);
out comes a string, equal to PyTorch's character for character. This room knows
no Tensor, no tape and no kernel, and imports nothing but NumPy and the standard
library, so that the words of an error may use it from anywhere.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclasses.dataclass
class _Options:
    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_options = _Options()

_PROFILES: dict[str, dict[str, Any]] = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": math.inf, "edgeitems": 3, "linewidth": 80},
}


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors are printed from now on, in every thread.

    `precision` counts digits after the point; a tensor of more than `threshold`
    elements shows `edgeitems` at both ends of each dimension; rows wrap at
    `linewidth`; `sci_mode` forces or forbids powers of ten. `profile` is
    "default", "short" or "full" (never shortened) and is applied before the
    others; an unknown one is ignored, as PyTorch does. What is None stays,
    except `sci_mode`, where None means chosen for each tensor.

    >>> set_printoptions(precision=2)
    >>> tensor_text(np.array([0.125, 3.0]), dtype="torch.float64")
    'tensor([0.12, 3.00], dtype=torch.float64)'
    >>> set_printoptions(profile="default")
    """
    given: dict[str, Any] = dict(_PROFILES.get(profile, {})) if profile else {}
    asked = {
        "precision": precision,
        "threshold": threshold,
        "edgeitems": edgeitems,
        "linewidth": linewidth,
    }
    given.update((name, value) for name, value in asked.items() if value is not None)
    for name, value in given.items():
        setattr(_options, name, value)
    _options.sci_mode = sci_mode


def get_printoptions() -> dict[str, Any]:
    """Return the options in force, as keywords for `set_printoptions`.

    >>> get_printoptions()["linewidth"]
    80
    """
    return dataclasses.asdict(_options)


@contextmanager
def printoptions(**options: Any) -> Iterator[None]:
    """Apply `set_printoptions(**options)` inside a with block only.

    >>> with printoptions(sci_mode=True, precision=1):
    ...     tensor_text(np.array(1250.0, np.float32), dtype="torch.float32")
    'tensor(1.2e+03)'
    """
    before = get_printoptions()
    set_printoptions(**options)
    try:
        yield
    finally:
        set_printoptions(**before)


def shown_indices(shape: Sequence[int]) -> tuple[list[int], ...] | None:
    """Return, for each dimension, the indices that are printed; None means all.

    For a tensor that lives elsewhere than in host memory: fetch only these,
    and give them to `tensor_text` with the whole tensor's `shape`.

    >>> shown_indices((2, 5000))
    ([0, 1], [0, 1, 2, 4997, 4998, 4999])
    """
    if math.prod(shape) <= _options.threshold:
        return None
    edge = _options.edgeitems
    return tuple(
        [*range(edge), *range(size - edge, size)]
        if size > 2 * edge
        else list(range(size))
        for size in shape
    )


def tensor_text(
    data: npt.NDArray[Any],
    *,
    dtype: str,
    default_dtype: str = "torch.float32",
    device: str = "cpu",
    requires_grad: bool = False,
    grad_fn: str | None = None,
    names: Sequence[str | None] | None = None,
    shape: Sequence[int] | None = None,
    prefix: str = "tensor(",
) -> str:
    """Return the text of a tensor that holds `data`.

    Of a tensor above the threshold only the printed elements are read.
    `dtype` and `default_dtype` (the current default float) are names such as
    "torch.float32"; `grad_fn` is the node's class name and takes the place of
    `requires_grad=True`; names that are all None are not shown. `shape` is
    given when `data` is no more than what `shown_indices(shape)` selects.

    Shapes: any, 0-d and empty ones included. Dtypes: bool, integers, floats
    and complex; a dtype that NumPy lacks comes as a wider one that holds it.

    >>> tensor_text(np.array([[1.0], [-2.5]], np.float32), dtype="torch.float32")
    'tensor([[ 1.0000],\\n        [-2.5000]])'
    >>> tensor_text(np.zeros((0, 3), np.float32), dtype="torch.float32")
    'tensor([], size=(0, 3))'
    """
    full = tuple(data.shape if shape is None else shape)
    size_note = f"size={full}"
    suffixes = []
    if device != "cpu":
        suffixes.append(f"device='{device}'")
    if math.prod(full) == 0:
        contents = "[]"
        if len(full) != 1:
            suffixes.append(size_note)
        implied: tuple[str, ...] = (default_dtype,)
    else:
        contents = _contents(data, full, len(prefix), gathered=shape is not None)
        if not _options.edgeitems:
            suffixes.append(size_note)
        wide = default_dtype == "torch.float64"
        complex_dtype = "torch.complex128" if wide else "torch.complex64"
        implied = (default_dtype, complex_dtype, "torch.int64", "torch.bool")
    if dtype not in implied:
        suffixes.append(f"dtype={dtype}")
    if grad_fn is not None:
        suffixes.append(f"grad_fn=<{grad_fn}>")
    elif requires_grad:
        suffixes.append("requires_grad=True")
    if names is not None and any(name is not None for name in names):
        suffixes.append(f"names={tuple(names)}")
    return _with_suffixes(prefix + contents, suffixes, len(prefix))


def _contents(
    data: npt.NDArray[Any], shape: tuple[int, ...], indent: int, *, gathered: bool
) -> str:
    """Return the numbers and brackets, without prefix and suffixes."""
    shown = shown_indices(shape)
    # Fancy indexing reads only the edges, whatever the strides and the size.
    if shown and not gathered:
        data = data[np.ix_(*shown)]
    cells, width = _cells(data)
    if not shape:
        return cells[0]
    edge = None if shown is None else _options.edgeitems
    return _block(iter(cells), shape, indent, width, edge)


def _cells(data: npt.NDArray[Any]) -> tuple[list[str], int]:
    """Return the text of each element, row by row, and the width of a column."""
    values = data.reshape(-1).tolist()
    if data.dtype.kind == "f":
        return _float_cells(values)
    if data.dtype.kind == "c":
        return _complex_cells(values)
    cells = [str(value) for value in values]
    width = max(map(len, cells), default=1)
    return [cell.rjust(width) for cell in cells], width


def _float_cells(values: list[float]) -> tuple[list[str], int]:
    """Choose one notation for all `values` and write them in it."""
    # Zeros, infinities and NaNs follow the others: they neither choose the
    # notation nor widen the column, even where they are wider ("-0.", "-inf").
    leading = [value != 0 and math.isfinite(value) for value in values]
    sizes = [abs(value) for value in itertools.compress(values, leading)]
    whole = all(size.is_integer() for size in sizes)
    if not sizes:
        scientific = False
    elif _options.sci_mode is not None:
        scientific = _options.sci_mode
    else:
        least, most = min(sizes), max(sizes)
        scientific = most / least > 1000.0 or most > 1.0e8 or least < 1.0e-4
    if whole and not scientific:
        cells = [_whole(value) for value in values]
    else:
        form = f".{_options.precision}{'e' if scientific else 'f'}"
        cells = [format(value, form) for value in values]
    width = max(map(len, itertools.compress(cells, leading)), default=1)
    return [cell.rjust(width) for cell in cells], width


def _whole(value: float) -> str:
    """Write a float that has no fraction with a bare point: `3.`."""
    return f"{value:.0f}." if math.isfinite(value) else f"{value:.0f}"


def _complex_cells(values: list[complex]) -> tuple[list[str], int]:
    """Write both parts, each in its own notation, as `1.0000-2.5000j`."""
    reals, real_width = _float_cells([value.real for value in values])
    imags, imag_width = _float_cells([value.imag for value in values])
    cells = []
    for real, padded in zip(reals, imags, strict=True):
        imag = padded.lstrip()
        sign = "" if imag.startswith("-") else "+"
        cells.append(f"{real}{sign}{imag}j")
    return cells, real_width + imag_width + 1


def _block(
    cells: Iterator[str],
    shape: tuple[int, ...],
    indent: int,
    width: int,
    edge: int | None,
) -> str:
    """Take the cells of one nested list from `cells` and return its text.

    `edge` is None for a tensor printed whole; else only that many items at
    each end of a longer dimension are in `cells`.
    """
    size, *rest = shape
    shortened = edge is not None and size > 2 * edge
    count = 2 * edge if edge is not None and shortened else size
    if not rest:
        items = list(itertools.islice(cells, count))
        if shortened:
            # The blank keeps columns of width 1 apart from the dots, as PyTorch.
            items.insert(edge or 0, " ..." if edge else "...")
        room = (_options.linewidth - indent) / (width + 2)
        per_line = max(1, math.floor(room))
        rows = [
            ", ".join(items[start : start + per_line])
            for start in range(0, len(items), per_line)
        ]
        line_end = ",\n"
    else:
        inner = tuple(rest)
        rows = [_block(cells, inner, indent + 1, width, edge) for _ in range(count)]
        if shortened:
            rows.insert(edge or 0, "...")
        line_end = "," + "\n" * len(rest)
    return "[" + (line_end + " " * (indent + 1)).join(rows) + "]"


def _with_suffixes(text: str, suffixes: list[str], indent: int) -> str:
    """Append the suffixes, each on the last line if it fits, and close."""
    # One more than the line's length: PyTorch counts so, and breaks by it.
    used = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if used + len(suffix) + 2 > _options.linewidth:
            text += ",\n" + " " * indent + suffix
            used = indent + len(suffix)
        else:
            text += ", " + suffix
            used += len(suffix) + 2
    return text + ")"
