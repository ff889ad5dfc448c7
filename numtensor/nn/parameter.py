"""Parameters and buffers: the tensors that a module knows as its own.

Nothing of modules comes in here.
"""

from __future__ import annotations

from typing import Any

from ..errors import message
from ..factories import scalar_tensor
from ..tensor import Tensor, _take


class Parameter(Tensor):
    """A tensor that a module counts among its parameters when it is assigned to it.

    It shares the memory of `data`, and requires grad unless told otherwise.
    Raises: TypeError, no Tensor; AutogradError, an integer dtype that should get grads.

    >>> import numtensor as nt
    >>> nt.nn.Parameter(nt.ones(2))
    Parameter containing:
    tensor([1., 1.], requires_grad=True)
    """

    __slots__ = ()

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        if data is None:
            data = scalar_tensor(0.0).new_empty(0)
        elif not isinstance(data, Tensor):
            raise TypeError(
                message(
                    "Parameter",
                    f"a {type(data).__name__}",
                    "a Tensor",
                    "Use nt.nn.Parameter(nt.tensor(...)).",
                )
            )
        _take(self, data)
        if requires_grad:
            self.requires_grad_()

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"

    def __reduce_ex__(self, protocol: Any) -> Any:
        return (_rebuilt, (self.detach(), self._requires_grad, dict(self.__dict__)))


def _rebuilt(data: Tensor, requires_grad: bool, extra: dict[str, Any]) -> Parameter:
    found = Parameter(data, requires_grad)
    found.__dict__.update(extra)
    return found


class _Buffers(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, Tensor) and hasattr(instance, "_is_buffer")


class Buffer(metaclass=_Buffers):
    """A tensor that a module counts among its buffers when it is assigned to it.

    What this makes is a Tensor over the memory of `data` with a mark on it;
    `isinstance(x, Buffer)` looks for the mark. With `persistent=False` it stays out of
    the module's `state_dict`.
    """

    def __new__(  # type: ignore[misc]
        cls, data: Tensor | None = None, *, persistent: bool = True
    ) -> Tensor:
        """Return the marked tensor."""
        if data is None:
            data = scalar_tensor(0.0).new_empty(0)
        found: Any = data.detach().requires_grad_(data.requires_grad)
        found.persistent = persistent
        found._is_buffer = True
        return found  # type: ignore[no-any-return]
