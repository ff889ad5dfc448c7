"""Random numbers: the source text of the CUDA kernels that fill memory with them.

What they compute is in `philox`, and is bit for bit what the CPU computes; here is how
a thread takes counters in turn, and stores what one counter makes as one vector.
"""

from __future__ import annotations

from ..philox import WORDS, body, group_size, parameters
from ..text import Source
from .emit import kernel_file


def emit(family: str, dtype: str) -> tuple[str, str]:
    """Return the name and the source of the kernel of a family and dtype.

    Parameters: output, seed, offset, number of counters, how many of them fill vectors,
    count of elements, then the parameters of the family. The last counter's elements
    may be more than are wanted.
    """
    prepare, group = body(family, dtype)
    size = group_size(family, dtype)
    source = Source()
    source.add("seed = uint64(seed)", "offset = uint64(offset)", *prepare)
    source.add("g = cuda.grid(1)")
    source.open("while g < tasks:")
    source.add(*group)
    if size > 1:
        source.open("if g < whole:")
        source.add(f"vs = blank_{size}(out)")
        source.add(*(f"vs = with_lane(vs, {k}, v{k})" for k in range(size)))
        source.add(f"store_{size}(out, g, vs)")
        source.close()
        source.open("else:")
    for k in range(size):
        # only the last counter can have too many, and its first element is wanted
        if k:
            source.open(f"if {size} * g + {k} < count:")
        source.add(f"out[{size} * g + {k}] = v{k}")
        if k:
            source.close()
    if size > 1:
        source.close()
    source.add("g += cuda.gridsize(1)")
    source.close()
    text = "\n".join(source.lines)
    vectors = (f"blank_{size}", "with_lane", f"store_{size}")
    source.calls |= {w for w in (*WORDS, *vectors) if f"{w}(" in text}
    name = f"{family}_{dtype}"
    title = f"Philox 4x32-10 on CUDA: {family}, {dtype}, {size} elements to a counter."
    given = [("out", f"{dtype}*"), ("seed", "int64"), ("offset", "int64")]
    given += [("tasks", "int64"), ("whole", "int64"), ("count", "int64")]
    return name, kernel_file(name, title, given + parameters(family, dtype), source)
