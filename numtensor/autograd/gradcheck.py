"""Gradients against central differences: the check that a way back is right.

Everything here goes through the public interface, a cotangent at a time; it is a test
for small tensors, not a way to compute derivatives.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..dtypes import float64
from ..errors import AutogradError, ShapeError, message
from ..memory import from_array
from ..tensor import Tensor
from ..transfer import Probe
from ..transfer import values as values_of
from .grad import Tensors, grad


class GradcheckError(AutogradError):
    """The analytical gradients are not those of the function."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Tensors,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Compare the gradients of `func` with central differences of step `eps`.

    Every input that requires grad should be float64; func returns a tensor or several.
    An entry is wrong where it differs by more than `atol + rtol * |numerical|`: for an
    error of 0.1 % and less, pass a smaller `rtol` (1e-6 is within reach of float64).
    Backward runs twice, and may differ by `nondet_tol`. The full Jacobians are always
    compared, so `fast_mode` changes nothing; forward mode and batches are not
    supported.

    Returns True; if the gradients differ, raises, or returns False without
    `raise_exception`. Raises: GradcheckError; ValueError, no input requires grad.

    >>> import numtensor as nt
    >>> x = nt.tensor([0.5, 2.0], dtype=nt.float64, requires_grad=True)
    >>> nt.autograd.gradcheck(nt.tanh, (x,))
    True
    """
    _refuse(
        check_batched_grad=check_batched_grad,
        check_batched_forward_grad=check_batched_forward_grad,
        check_forward_ad=check_forward_ad,
    )
    if not check_backward_ad:
        raise ValueError(
            message(
                "gradcheck",
                "check_backward_ad=False",
                "True",
                "Expected at least one of check_forward_ad or check_backward_ad.",
            )
        )
    given = _tuple(inputs)
    try:
        _check_inputs(given)
        _compare(func, given, eps, atol, rtol, nondet_tol, check_grad_dtypes)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Tensors,
    grad_outputs: Tensors | None = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """Compare the gradients of the gradients of `func` with central differences.

    The function checked is the gradient, of the inputs and of the cotangents
    `grad_outputs` (random, if not given). The other arguments are `gradcheck`'s.
    """
    _refuse(check_fwd_over_rev=check_fwd_over_rev)
    given = _tuple(inputs)
    outputs = _differentiable(func(*given))
    if grad_outputs is None:
        cotangents = _random_like(outputs, gen_non_contig_grad_outputs)
    else:
        cotangents = _tuple(grad_outputs)
    count = len(given)

    def gradients(*args: Any) -> tuple[Tensor, ...]:
        found = grad(
            _differentiable(func(*args[:count])),
            [a for a in args[:count] if _wants_grad(a)],
            args[count:],
            create_graph=True,
            allow_unused=True,
        )
        return tuple(g for g in found if g is not None)

    return gradcheck(
        gradients,
        given + cotangents,
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad,
        fast_mode=fast_mode,
        masked=masked,
    )


def _refuse(**switches: bool) -> None:
    for name, value in switches.items():
        if value:
            raise AutogradError(
                message(
                    "gradcheck",
                    f"{name}=True",
                    "False",
                    "Only reverse mode, one cotangent at a time, can be checked.",
                )
            )


def _tuple(given: Any) -> tuple[Any, ...]:
    return (given,) if isinstance(given, Tensor) else tuple(given)


def _wants_grad(value: Any) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def _differentiable(outputs: Any) -> list[Tensor]:
    return [o for o in _outputs(outputs) if o.requires_grad]


def _outputs(outputs: Any) -> list[Tensor]:
    found = _tuple(outputs) if isinstance(outputs, (Tensor, tuple, list)) else ()
    return [o for o in found if isinstance(o, Tensor)]


def _random_like(outputs: Sequence[Tensor], strided: bool) -> tuple[Tensor, ...]:
    generator = np.random.default_rng(0)
    made = []
    for output in outputs:
        shape = tuple(output.shape)
        array = generator.standard_normal((*shape, 2) if strided else shape)
        tensor = from_array(np.array(array)).to(output.dtype)
        if strided:
            tensor = tensor[..., 0]
        made.append(tensor.requires_grad_())
    return tuple(made)


def _check_inputs(given: tuple[Any, ...]) -> None:
    wanted = [(k, x) for k, x in enumerate(given) if _wants_grad(x)]
    if not wanted:
        raise ValueError(
            message(
                "gradcheck",
                "inputs that do not require grad",
                "at least one that does",
                "gradcheck expects at least one input tensor to require gradient, but "
                "none of them have requires_grad=True.",
            )
        )
    for k, x in wanted:
        if x.dtype is not float64:
            warnings.warn(
                f"Input #{k} requires gradient and is not a double precision floating "
                "point or complex. This check will likely fail if all the inputs are "
                "not of double precision floating point or complex.",
                stacklevel=3,
            )
        if any(s == 0 and n > 1 for s, n in zip(x.stride(), x.shape, strict=True)):
            raise ShapeError(
                message(
                    "gradcheck",
                    f"input {k} with strides {list(x.stride())}",
                    "elements that do not share memory",
                    f"The {k}th input has a dimension with stride 0. gradcheck only "
                    "supports inputs that are non-overlapping to be able to compute "
                    "the numerical gradients correctly. You should call .contiguous "
                    "on the input before passing it to gradcheck.",
                )
            )


def _compare(
    func: Callable[..., Any],
    given: tuple[Any, ...],
    eps: float,
    atol: float,
    rtol: float,
    nondet_tol: float,
    check_dtypes: bool,
) -> None:
    result = func(*given)
    outputs = _outputs(result)
    wanted = [(k, x) for k, x in enumerate(given) if _wants_grad(x)]
    numerical = _numerical(func, given, [x for _, x in wanted], eps)
    if not any(o.requires_grad for o in outputs):
        if any(np.any(j != 0) for row in numerical for j in row):
            raise GradcheckError(
                message(
                    "gradcheck",
                    "outputs that do not require grad but depend on the inputs",
                    "constant outputs",
                    "Numerical gradient for function expected to be zero.",
                )
            )
        return
    number = -1
    for position, output in enumerate(outputs):
        if not output.requires_grad:
            continue
        number += 1
        inputs = [x for _, x in wanted]
        first = _analytical(output, inputs, check_dtypes)
        again = _analytical(output, inputs, check_dtypes)
        _check_scaling(output, inputs)
        for n, (k, _) in enumerate(wanted):
            expected = numerical[n][position]
            if not np.allclose(first[n], expected, rtol, atol, equal_nan=True):
                raise GradcheckError(
                    message(
                        "gradcheck",
                        f"a gradient that is off by up to {_worst(first[n], expected)}",
                        f"at most {atol:g} + {rtol:g} * |numerical|",
                        f"Jacobian mismatch for output {number} with respect to input "
                        f"{k},\nnumerical:{_shown(expected)}\n"
                        f"analytical:{_shown(first[n])}\n",
                    )
                )
            if not np.allclose(first[n], again[n], 0.0, nondet_tol, equal_nan=True):
                raise GradcheckError(
                    message(
                        "gradcheck",
                        f"two runs that differ by {_worst(first[n], again[n])}",
                        f"at most {nondet_tol:g}",
                        "Backward is not reentrant, i.e., running backward with same "
                        "input and grad_output multiple times gives different values, "
                        "although analytical gradient matches numerical gradient. The "
                        f"tolerance for nondeterminism was {nondet_tol}.",
                    )
                )


def _worst(a: np.ndarray, b: np.ndarray) -> str:
    return f"{np.max(np.abs(a - b), initial=0.0):.3g}"


def _shown(jacobian: np.ndarray) -> str:
    return repr(from_array(np.ascontiguousarray(jacobian)))


def _numerical(
    func: Callable[..., Any],
    given: tuple[Any, ...],
    inputs: Sequence[Tensor],
    eps: float,
) -> list[list[np.ndarray]]:
    """Return, for each input and output, the Jacobian (input elements, output's)."""

    def values() -> list[np.ndarray]:
        return [np.array(values_of(o), np.float64) for o in _outputs(func(*given))]

    jacobians = []
    for x in inputs:
        # outside the tape and its count of changes: the graph of `first` stays valid
        memory = Probe(x)
        rows = []
        for index in np.ndindex(*x.shape):
            centre = memory[index]
            memory[index] = centre + eps
            above, after = values(), memory[index]
            memory[index] = centre - eps
            below, before = values(), memory[index]
            memory[index] = centre
            # the step that was taken, which rounding may have changed
            step = float(after) - float(before)
            rows.append(
                [(a - b).ravel() / step for a, b in zip(above, below, strict=True)]
            )
        if not rows:
            jacobians.append([np.zeros((0, v.size)) for v in values()])
            continue
        jacobians.append([np.array(column) for column in zip(*rows, strict=True)])
    return jacobians


def _analytical(
    output: Tensor, inputs: Sequence[Tensor], check_dtypes: bool
) -> list[np.ndarray]:
    shape = tuple(output.shape)
    columns: list[list[np.ndarray]] = [[] for _ in inputs]
    for index in np.ndindex(*shape):
        one = np.zeros(shape, output.dtype.numpy)
        one[index] = 1.0
        found = grad(
            output,
            inputs,
            from_array(one).to(output.device),
            retain_graph=True,
            allow_unused=True,
        )
        for column, x, g in zip(columns, inputs, found, strict=True):
            if g is None:
                column.append(np.zeros(x.numel()))
                continue
            if check_dtypes and g.dtype is not x.dtype:
                raise GradcheckError(
                    message(
                        "gradcheck", f"a gradient of {g.dtype}", f"{x.dtype}",
                        "Gradient has dtype mismatch.",
                    )
                )  # fmt: skip
            if g.shape != x.shape:
                raise GradcheckError(
                    message(
                        "gradcheck",
                        f"a gradient of shape {list(g.shape)}",
                        f"{list(x.shape)}",
                        "Analytical gradient has incorrect size.",
                    )
                )
            column.append(np.array(values_of(g), np.float64).ravel())
    return [
        np.array(column).T if column else np.zeros((x.numel(), 0))
        for column, x in zip(columns, inputs, strict=True)
    ]


def _check_scaling(output: Tensor, inputs: Sequence[Tensor]) -> None:
    """A cotangent of zeros must give zeros: the way back is linear."""
    zeros = output.new_zeros(output.shape)
    for g in grad(output, inputs, zeros, retain_graph=True, allow_unused=True):
        if g is not None and np.any(values_of(g) != 0):
            raise GradcheckError(
                message(
                    "gradcheck",
                    "a gradient that is not zero for a cotangent of zeros",
                    "a linear way back",
                    "backward not multiplied by grad_output.",
                )
            )
