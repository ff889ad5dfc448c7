"""Rules for writing into a tensor: what may be changed, and what overlaps what.

Every in-place operator, `out=` and random fill asks here before a kernel runs.
"""

from __future__ import annotations

from typing import Any, NoReturn

from .errors import AutogradError, ShapeError, message
from .layout import has_internal_overlap
from .memory import overlap
from .storage import ReadOnlyStorage, Storage, refuse_writing
from .tape import grad_mode
from .tensor import Tensor


def writable(op: str, target: Tensor, recorded: bool) -> Tensor:
    """Check that `target` may be written to.

    Raises: AutogradError, a leaf (or a view of one) that requires grad; ShapeError,
    elements that share memory; ReadOnlyError.
    """
    if type(target._storage) is ReadOnlyStorage:
        refuse_writing(op)
    if grad_mode.enabled:
        base = target._base
        if target._requires_grad and target.grad_fn is None:
            _refuse_leaf(op, "a leaf Variable that requires grad")
        if base is not None:
            if base._requires_grad and base._node is None:
                _refuse_leaf(op, "a view of a leaf Variable that requires grad")
            node = target.grad_fn
            if node is None and base._requires_grad:
                raise AutogradError(
                    message(
                        op,
                        "a view made in no_grad",
                        "view and change both inside no_grad, or both outside",
                        "A view was created in no_grad mode and is being modified "
                        "inplace with grad mode enabled. Given that this use case is "
                        "ambiguous and error-prone, it is forbidden.",
                    )
                )
            if node is not None and node.guards_views:
                raise AutogradError(
                    message(
                        op,
                        f"output {target._output} of {node.name()}, a view",
                        "a tensor that may be modified",
                        f"Output {target._output} of {node.name()[:-8]} is a view and "
                        "is being modified inplace. This view was created inside a "
                        "custom Function (or because an input was returned as-is) and "
                        "the autograd logic to handle view+inplace would override the "
                        "custom backward associated with the custom Function, leading "
                        "to incorrect gradients. This behavior is forbidden. You can "
                        "fix this by cloning the output of the custom Function.",
                    )
                )
            if (
                node is not None
                and node.outputs > 1
                and (recorded or target._requires_grad)
            ):
                raise AutogradError(
                    message(
                        op,
                        f"output {target._output} of {node.name()}, one of many views",
                        "a tensor that may be modified",
                        "This view is the output of a function that returns multiple "
                        "views. Such functions do not allow the output views to be "
                        "modified inplace. Index the tensor instead.",
                    )
                )
    if has_internal_overlap(target._spec.shape, target._spec.strides):
        raise ShapeError(
            message(
                op,
                f"an output of shape {list(target.shape)} and strides "
                f"{list(target._spec.strides)}",
                "elements that do not share memory",
                "unsupported operation: more than one element of the written-to tensor "
                "refers to a single memory location. Please clone() the tensor before "
                "performing the operation.",
            )
        )
    return target


def _refuse_leaf(op: str, what: str) -> None:
    raise AutogradError(
        message(
            op,
            what,
            "a tensor whose history may change",
            f"{what} is being used in an in-place operation. Do it inside no_grad(), "
            "or use the operator that returns a new tensor.",
        )
    )


def refuse_recording(op: str) -> NoReturn:
    """Refuse `out=` where something would be recorded. Raises: AutogradError."""
    raise AutogradError(
        message(
            op,
            "out= while a tensor requires grad",
            "no recorded operands",
            f"{op}(): functions with out=... arguments don't support automatic "
            "differentiation. Use it inside no_grad().",
        )
    )


def may_meet(a: Storage, b: Storage) -> bool:
    """Whether two storages have a byte in common; two objects can, over one ndarray."""
    return a is b or (
        a.pointer < b.pointer + b.nbytes and b.pointer < a.pointer + a.nbytes
    )


def apart(op: str, target: Tensor, source: Any) -> Any:
    """Return `source` so that writing `target` cannot change it before it is read.

    Raises: ShapeError, the two overlap in part, as PyTorch refuses it.
    """
    if source is target or not may_meet(target._storage, source._storage):
        return source
    status = overlap(target, source)
    if status == "none" or status == "full":
        return source
    if status == "unknown":
        return source.detach().clone() if not source._requires_grad else source.clone()
    raise ShapeError(
        message(
            op,
            "an output that overlaps an input in part",
            "memory that is the same or apart",
            "unsupported operation: some elements of the input tensor and the "
            "written-to tensor refer to a single memory location. Please clone() the "
            "tensor before performing the operation.",
        )
    )
