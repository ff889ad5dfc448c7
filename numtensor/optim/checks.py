"""Checks of the options that optimisers are made with, and their errors."""

from __future__ import annotations

from typing import Any

from ..errors import message
from ..tensor import Tensor


def invalid(name: str, option: str, value: Any, expected: str, text: str) -> ValueError:
    """Return the error of an option outside its range; `text` is PyTorch's sentence."""
    return ValueError(message(name, f"{option}={value}", expected, text))


def check_lr(name: str, lr: Any) -> None:
    """Check a learning rate. Raises: ValueError."""
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError(
            message(
                name,
                f"lr of shape {list(lr.shape)}",
                "one number",
                "Tensor lr must be 1-element",
            )
        )
    check_positive(name, "lr", lr, "learning rate")


def check_positive(name: str, option: str, value: Any, called: str) -> None:
    """Check that a number is not below 0, nor NaN. Raises: ValueError."""
    if not value >= 0.0:
        raise invalid(name, option, value, "0 or more", f"Invalid {called}: {value}")


def check_betas(name: str, betas: Any) -> None:
    """Check the two rates of decay of Adam and its kin. Raises: ValueError."""
    for k in range(2):
        if not 0.0 <= betas[k] < 1.0:
            raise invalid(
                name,
                f"betas[{k}]",
                betas[k],
                "0 or more and below 1",
                f"Invalid beta parameter at index {k}: {betas[k]}",
            )


def check_flags(name: str, fused: Any, foreach: Any, differentiable: Any) -> None:
    """Check what excludes each other. Raises: RuntimeError."""
    if fused and differentiable:
        raise RuntimeError(
            message(
                name,
                "fused=True and differentiable=True",
                "one of them",
                "`fused` does not support `differentiable`",
            )
        )
    if fused and foreach:
        raise RuntimeError(
            message(
                name,
                "fused=True and foreach=True",
                "one of them",
                "`fused` and `foreach` cannot be `True` together.",
            )
        )
