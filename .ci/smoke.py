"""What an installed numtensor must be able to do, run outside the checkout."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import numtensor as torch

FOLDERS = ("autograd", "kernels", "kernels/cpu", "kernels/mathlib", "ops")


def main() -> None:
    """Check where the package is and that it is whole, then fit a line."""
    package = Path(torch.__file__).parent
    installed = Path(sysconfig.get_path("purelib"))
    assert package.parent == installed, f"numtensor came from {package}"
    for name in FOLDERS:
        assert (package / name / "__init__.py").is_file(), f"no {name} in {package}"
    assert (package / "py.typed").is_file()

    x = torch.linspace(-1, 1, 21)
    target = 3 * x + 2
    params = torch.tensor([1.0, 0.0], requires_grad=True)
    for _ in range(200):
        params.grad = None
        w, b = params
        ((w * x + b - target) ** 2).mean().backward()
        with torch.no_grad():
            params -= 0.1 * params.grad
    assert torch.allclose(params, torch.tensor([3.0, 2.0]), atol=1e-3), params
    print(f"fitted {params.tolist()} with numtensor {torch.__version__} in {package}")


if __name__ == "__main__":
    main()
