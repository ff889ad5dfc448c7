"""Views that a tensor becomes itself: unsqueeze_, squeeze_, transpose_, t_."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import AutogradError, message
from ..names import rules, whole
from ..tape import grad_mode
from ..tensor import Tensor
from . import views
from .declare import attach


def _becomes(name: str, view: Callable[..., Tensor], names: rules.Rule) -> None:
    def call(self: Tensor, *args: Any, **keywords: Any) -> Tensor:
        if grad_mode.enabled and self._node is None and self._requires_grad:
            raise AutogradError(
                message(
                    name,
                    "a leaf that requires grad",
                    "a tensor without a gradient of its own",
                    "a leaf Variable that requires grad is being used in an in-place "
                    f"operation. Use x.{name[:-1]}().",
                )
            )
        made = view(self, *args, **keywords)
        self._spec, self._pointer = made._spec, made._pointer
        if made._node is not None:
            self._node, self._output = made._node, made._output
        return self

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"Make the tensor its own `{name[:-1]}`, and return it."
    attach(name, call, whole.becomes(view, names))


for _name, _view, _names in (
    ("unsqueeze_", views.unsqueeze, rules.unsqueeze),
    ("squeeze_", views.squeeze, rules.squeeze),
    ("transpose_", views.transpose, rules.transpose),
    ("swapaxes_", views.transpose, rules.transpose),
    ("swapdims_", views.transpose, rules.transpose),
    ("t_", views.t, rules.reverse),
):
    _becomes(_name, _view, _names)
