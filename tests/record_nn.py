"""Record what PyTorch gives for the cases of `nn_cases`: run where it is installed.

    python tests/record_nn.py [FAMILY ...]

writes `tests/data/nn_<family>.npz`, of the named families or of all.
"""

from __future__ import annotations

import sys

import nn_cases


def main(wanted: list[str]) -> None:
    import torch

    found = nn_cases.families()
    for family in wanted or found:
        values = {c.name: nn_cases.Run(c, torch).everything() for c in found[family]}
        path = nn_cases.write(family, values)
        print(f"{path.name}: {len(values)} cases, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
