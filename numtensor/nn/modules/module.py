"""The base class of all modules: calling, showing, moving, switching modes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ... import devices, dtypes
from ...errors import message
from ...modes import no_grad
from ...tensor import Tensor
from .hooks import Hooked
from .state import Stateful

T = TypeVar("T", bound="Module")


def _unimplemented(self: Module, *input: Any) -> Any:
    """Compute the module's result: every module defines this.

    Raises: NotImplementedError.
    """
    raise NotImplementedError(
        f'Module [{type(self).__name__}] is missing the required "forward" function'
    )


class Module(Stateful, Hooked):
    """What layers and networks derive from.

    A subclass calls `super().__init__()`, assigns parameters and other modules to
    attributes, and defines `forward`.

    >>> import numtensor as nt
    >>> class Net(nt.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.hidden = nt.nn.Linear(3, 4)
    ...         self.out = nt.nn.Linear(4, 1)
    ...
    ...     def forward(self, x):
    ...         return self.out(self.hidden(x).tanh())
    >>> Net()
    Net(
      (hidden): Linear(in_features=3, out_features=4, bias=True)
      (out): Linear(in_features=4, out_features=1, bias=True)
    )
    """

    dump_patches = False

    forward: Callable[..., Any] = _unimplemented

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the hooks and `forward`."""
        if self._hooks is None:
            return self.forward(*args, **kwargs)
        return self._call_with_hooks(args, kwargs)

    # what it looks like

    def extra_repr(self) -> str:
        """Return what is printed between the parentheses, before modules inside."""
        return ""

    def _get_name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        inside = []
        for name, module in self._modules.items():
            inside.append(f"({name}): {indented(repr(module))}")
        if len(lines) == 1 and not inside:
            return f"{self._get_name()}({lines[0]})"
        if not lines and not inside:
            return f"{self._get_name()}()"
        body = "\n  ".join(lines + inside)
        return f"{self._get_name()}(\n  {body}\n)"

    # applied to everything inside

    def apply(self: T, fn: Callable[[Any], None]) -> T:
        """Call `fn(module)` on all modules inside, then on this one; return this one.

        >>> import numtensor as nt
        >>> def start(m):
        ...     if isinstance(m, nt.nn.Linear):
        ...         nt.nn.init.zeros_(m.bias)
        >>> net = nt.nn.Sequential(nt.nn.Linear(1, 2), nt.nn.Linear(2, 1)).apply(start)
        >>> net[0].bias.tolist()
        [0.0, 0.0]
        """
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def _apply(self: T, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> T:
        """Replace the memory of all parameters, their gradients and buffers."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        for param in self._parameters.values():
            if param is None:
                continue
            with no_grad():
                param.data = fn(param.detach())
                if param._grad is not None:
                    param._grad = fn(param._grad.detach()).requires_grad_(
                        param._grad.requires_grad
                    )
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def to(self: T, *args: Any, **kwargs: Any) -> T:
        """Move parameters and buffers to a device, or cast the floating ones, in place.

        `to(device)`, `to(dtype)`, `to(device, dtype)`, `to(tensor)`, and by keyword;
        `non_blocking` as in `Tensor.to`. Returns the module.
        Raises: TypeError, a dtype that is no floating one; DeviceError, no such device.
        """
        device, dtype, non_blocking = _destination(*args, **kwargs)

        def move(t: Tensor) -> Tensor:
            kind = dtype if t.is_floating_point() else None
            return t.to(device=device, dtype=kind, non_blocking=non_blocking)

        return self._apply(move)

    def cpu(self: T) -> T:
        """Move parameters and buffers to host memory."""
        return self._apply(lambda t: t.cpu())

    def cuda(self: T, device: Any = None) -> T:
        """Move parameters and buffers to a GPU, the current one unless told which."""
        return self._apply(lambda t: t.cuda(device))

    def type(self: T, dst_type: Any) -> T:
        """Cast parameters and buffers to a dtype, integers too."""
        return self._apply(lambda t: t.type(dst_type))

    def float(self: T) -> T:
        """Cast the floating-point parameters and buffers to float32."""
        return self._cast(dtypes.float32)

    def double(self: T) -> T:
        """Cast the floating-point parameters and buffers to float64."""
        return self._cast(dtypes.float64)

    def half(self: T) -> T:
        """Cast the floating-point parameters and buffers to float16.

        Raises: DTypeError, unless tensors have that dtype.
        """
        return self._cast(dtypes.find("float16"))

    def _cast(self: T, kind: Any) -> T:
        return self._apply(lambda t: t.to(kind) if t.is_floating_point() else t)

    def share_memory(self: T) -> T:
        """Refuse: tensors have no memory that processes share.

        Raises: NotImplementedError.
        """
        raise NotImplementedError(
            message(
                "share_memory",
                "a module",
                "nothing: memory is not shared between processes",
                "Send state_dict() to the other process, or use threads.",
            )
        )

    # modes and gradients

    def train(self: T, mode: bool = True) -> T:
        """Switch this module and all inside to training mode; return this one.

        Raises: ValueError, a mode that is no bool.
        """
        if not isinstance(mode, bool):
            raise ValueError(
                message(
                    "train",
                    f"{mode!r}",
                    "True or False",
                    "training mode is expected to be boolean.",
                )
            )
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self: T) -> T:
        """Switch this module and all inside to evaluation mode; return this one."""
        return self.train(False)

    def requires_grad_(self: T, requires_grad: bool = True) -> T:
        """Start or stop recording operators on all parameters."""
        for param in self.parameters():
            param.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Reset the gradients of all parameters: to None, or to zeros."""
        for param in self.parameters():
            if param._grad is None:
                continue
            if set_to_none:
                param._grad = None
            else:
                if param._grad.grad_fn is not None:
                    param._grad.detach_()
                else:
                    param._grad.requires_grad_(False)
                param._grad.zero_()


def indented(text: str, by: int = 2) -> str:
    """Return a text with all lines but the first indented."""
    return text.replace("\n", "\n" + " " * by)


def _destination(
    *args: Any,
    device: Any = None,
    dtype: Any = None,
    non_blocking: bool = False,
    tensor: Tensor | None = None,
    memory_format: Any = None,
) -> tuple[Any, Any, bool]:
    """Return the device, dtype and flag that the arguments of `to` say."""
    if tensor is not None:
        args = (tensor, *args)
    for arg in args:
        if isinstance(arg, Tensor):
            device, dtype = arg.device, arg.dtype
        elif isinstance(arg, bool):
            non_blocking = arg
        elif isinstance(arg, (dtypes.dtype, type)):
            dtype = arg
        elif arg is not None:
            device = arg
    if dtype is not None:
        dtype = dtypes.find(dtype)
        if dtype.category != dtypes.FLOAT:
            raise TypeError(
                message(
                    "to",
                    f"{dtype}",
                    "a floating-point dtype",
                    "nn.Module.to only accepts floating point or complex dtypes, but "
                    f"got desired dtype={dtype}.",
                )
            )
    if device is not None:
        device = devices.find(device)
    return device, dtype, non_blocking
