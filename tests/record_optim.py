"""Record what PyTorch gives for the cases of `optim_cases`: run where it is installed.

    python tests/record_optim.py

writes `tests/data/optim_expected.npz`.
"""

from __future__ import annotations

import optim_cases


def main() -> None:
    import numpy as np
    import torch

    found = {
        name: rows[list(optim_cases.RECORDED)] if name.startswith("optimiser") else rows
        for name, rows in optim_cases.everything(torch).items()
    }
    optim_cases.PATH.parent.mkdir(exist_ok=True)
    np.savez_compressed(optim_cases.PATH, **found)
    print(f"{len(found)} cases, {optim_cases.PATH.stat().st_size} bytes")


if __name__ == "__main__":
    main()
