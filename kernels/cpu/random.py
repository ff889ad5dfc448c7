"""Random numbers: the source text of the CPU's kernels that fill memory with them.

What they compute is in `philox`; here is how a CPU kernel reads its slots and loops
over counters. Text only.
"""

from __future__ import annotations

from ..philox import WORDS, body, group_size, parameters

__all__ = ["emit", "group_size"]

_INDENT = "    "
_INTS = ("seed", "offset", "count")


def emit(family: str, dtype: str) -> str:
    """Return the source of the kernel `family_dtype`.

    Argument slots: output, seed, offset, count of elements, then the parameters of
    the family. The range counts groups; the last group may be partial.
    """
    prepare, group = body(family, dtype)
    size = group_size(family, dtype)
    given = parameters(family, dtype)
    reads = [f"{name} = {name}_at(args)" for name, _ in given] + prepare
    tail: list[str] = []
    for k in range(size):
        # only the last group can be short, and it has a first element
        tail += [f"if {size} * g + {k} < count:"] if k else []
        tail += [f"{_INDENT if k else ''}out[{size} * g + {k}] = v{k}"]
    whole = [f"out[{size} * g + {k}] = v{k}" for k in range(size)]
    lines = [
        "out = out_at(args)",
        "seed = uint64(seed_at(args))",
        "offset = uint64(offset_at(args))",
        "count = count_at(args)",
        *reads,
        f"full = min(hi, count // {size})",
        "for g in range(lo, full):",
        *(_INDENT + line for line in group + whole),
        "for g in range(max(lo, full), hi):",
        *(_INDENT + line for line in group + tail),
    ]
    text = "\n".join(lines)
    slots = [f'out_at = pointer("{dtype}", 0)']
    slots += [f'{name}_at = scalar("int64", {k})' for k, name in enumerate(_INTS, 1)]
    slots += [
        f'{name}_at = scalar("{kind}", {4 + k})' for k, (name, kind) in enumerate(given)
    ]
    words = sorted(
        w for w in ("pointer", "scalar", *WORDS) if f"{w}(" in text + "\n".join(slots)
    )
    file = [
        f'"""Philox 4x32-10: {family}, {dtype}, {size} elements to a counter."""',
        "",
        "from numtensor.kernels.lang import (",
        *(f"{_INDENT}{word}," for word in words),
        ")",
        "",
        *slots,
        "",
        "",
        f"def {family}_{dtype}(args, lo, hi):",
        *(_INDENT + line for line in lines),
    ]
    return "\n".join(file) + "\n"
