"""How many threads a launch has: the one place that says so.

On a GPU, blocks of 256 threads, as many as the elements ask for up to a few for each
multiprocessor; kernels loop over what is left. In the simulator a thread costs 0.1 ms,
so blocks and warps are small there, and what is cut into blocks is cut into small ones:
a few dozen elements meet every edge that millions meet on a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Geometry:
    """Sizes of blocks and of the pieces that work is cut into."""

    block: int  # threads of a block in reductions: BLOCK of the kernels' words
    warp: int
    elementwise_block: int
    blocks_per_processor: int
    #: elements of one task when a long row, or a long column, is cut
    row: int
    column: int
    #: fewer results than this leave a GPU idle, so that rows or columns are cut
    few_rows: int
    few_columns: int
    #: rows up to this length go to a warp each
    short: int
    #: from how many points on operands that run across each other go tile by tile
    tiled: int
    #: of matmul: rows and columns of a block's result, and what it takes in at a time
    tile: int
    depth: int


HARDWARE = Geometry(256, 32, 256, 16, 16384, 256, 256, 65536, 128, 16384, 64, 16)
SIMULATED = Geometry(8, 4, 4, 2, 32, 8, 6, 12, 8, 30, 8, 3)


def of(simulated: bool) -> Geometry:
    """Return the geometry of GPUs, or of the simulator."""
    return SIMULATED if simulated else HARDWARE
