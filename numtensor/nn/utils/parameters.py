"""All parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from ...errors import DeviceError, ShapeError, message
from ...ops.registry import function
from ...tensor import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """Return the elements of all tensors, one after the other, in one dim.

    Raises: DeviceError, tensors on several devices.

    >>> import numtensor as nt
    >>> layer = nt.nn.Linear(3, 2)
    >>> nt.nn.utils.parameters_to_vector(layer.parameters()).shape
    torch.Size([8])
    """
    found = list(parameters)
    _one_device("parameters_to_vector", found)
    return function("cat")([p.reshape(-1) for p in found])  # type: ignore


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Let each tensor be a part of a vector: it shares the vector's memory.

    Raises: TypeError, no Tensor; ShapeError, a vector that is too short; DeviceError.
    """
    if not isinstance(vec, Tensor):
        raise TypeError(
            message(
                "vector_to_parameters",
                f"a {type(vec).__name__}",
                "a Tensor",
                f"expected torch.Tensor, but got: {type(vec).__name__}.",
            )
        )
    found = list(parameters)
    _one_device("vector_to_parameters", found)
    wanted = sum(p.numel() for p in found)
    if vec.numel() < wanted:
        raise ShapeError(
            message(
                "vector_to_parameters",
                f"{vec.numel()} elements",
                f"{wanted} at least",
            )
        )
    start = 0
    for p in found:
        part = vec.detach().narrow(0, start, p.numel())
        p.data = part.view(p.shape)
        start += p.numel()


def _one_device(op: str, tensors: list[Tensor]) -> None:
    devices = sorted({str(t.device) for t in tensors})
    if len(devices) > 1:
        raise DeviceError(
            message(
                op,
                f"tensors on {' and '.join(devices)}",
                "one device",
                "Found two parameters on different devices, this is currently not "
                "supported.",
            )
        )
