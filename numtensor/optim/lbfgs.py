"""LBFGS: quasi-Newton steps from the last gradients, by tensor operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import message
from ..modes import enable_grad, no_grad
from ..ops.registry import function
from ..tensor import Tensor
from .checks import check_lr
from .line_search import strong_wolfe
from .optimizer import Optimizer, number


class LBFGS(Optimizer):
    """Limited-memory BFGS: each `step(closure)` makes up to `max_iter` iterations.

    The closure computes the loss and its gradients anew. The direction follows from the
    last `history_size` changes of the gradient; `line_search_fn="strong_wolfe"` finds
    how far to go, otherwise it is lr. An iteration ends the step where the largest
    gradient is at most `tolerance_grad`, where loss or parameters change by less than
    `tolerance_change`, or where the closure was called `max_eval` times (5/4 of
    `max_iter` by default). There can be one group only.

    Raises: ValueError, RuntimeError, another line search.
    Source: Nocedal and Wright (2006), Numerical Optimization, chapters 3 and 7.

    >>> import numtensor as nt
    >>> from numtensor import optim
    >>> w = nt.zeros(2, requires_grad=True)
    >>> optimizer = optim.LBFGS([w], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = ((w - nt.tensor([1.0, 2.0])) ** 2).sum()
    ...     loss.backward()
    ...     return loss
    >>> optimizer.step(closure)
    tensor(5., grad_fn=<SumBackward0>)
    >>> w.detach()
    tensor([1.0000, 2.0000])
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        check_lr("LBFGS", lr)
        if max_eval is None:
            max_eval = max_iter * 5 // 4
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError(
                message(
                    "LBFGS",
                    f"{len(self.param_groups)} groups",
                    "one",
                    "LBFGS doesn't support per-parameter options (parameter groups)",
                )
            )

    @property
    def _params(self) -> list[Tensor]:
        found: list[Tensor] = self.param_groups[0]["params"]
        return found

    def _flat_grad(self) -> Tensor:
        """Return all gradients as one vector; 0 where there is none."""
        parts = []
        for p in self._params:
            grad = p._grad
            if grad is None:
                parts.append(p.detach().new_zeros(p.numel()))
            else:
                parts.append(grad.detach().reshape(-1))
        found: Tensor = function("cat")(parts, 0)
        return found

    def _move(self, size: float, direction: Tensor) -> None:
        """Add a multiple of a vector to the parameters."""
        start = 0
        for p in self._params:
            part = direction[start : start + p.numel()].reshape(p.shape)
            p.add_(part * size)
            start += p.numel()

    @no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make up to `max_iter` iterations; return the loss before the first."""
        if closure is None:
            raise TypeError(
                message(
                    "LBFGS.step",
                    "no closure",
                    "one",
                    "step() missing 1 required positional argument: 'closure'",
                )
            )
        compute = enable_grad()(closure)
        group = self.param_groups[0]
        # all is kept as the first parameter's, as PyTorch does
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        first_loss = compute()
        run = _Run(self, compute, group, state, float(first_loss))
        if float(run.grad.abs().max()) > group["tolerance_grad"]:
            run.iterate()
            state.update(run.kept)
        return first_loss


class _Run:
    """The iterations of one step."""

    def __init__(
        self,
        optimizer: LBFGS,
        compute: Callable[[], Any],
        group: dict[str, Any],
        state: dict[str, Any],
        loss: float,
    ) -> None:
        self.optimizer = optimizer
        self.compute = compute
        self.group = group
        self.state = state
        self.loss = loss
        self.evaluations = 1
        state["func_evals"] += 1
        self.grad = optimizer._flat_grad()
        names = ("d", "t", "old_dirs", "old_stps", "ro", "H_diag")
        self.kept: dict[str, Any] = {
            k: state.get(k) for k in (*names, "prev_flat_grad", "prev_loss")
        }

    def iterate(self) -> None:
        group, state, kept = self.group, self.state, self.kept
        lr = number(group["lr"])
        tolerance = group["tolerance_change"]
        n = 0
        while n < group["max_iter"]:
            n += 1
            state["n_iter"] += 1
            first = state["n_iter"] == 1
            if first:
                kept.update(d=self.grad.neg(), old_dirs=[], old_stps=[], ro=[])
                kept["H_diag"] = 1
            else:
                self._direction()
            kept["prev_flat_grad"] = self.grad.clone()
            kept["prev_loss"] = before = self.loss
            direction: Tensor = kept["d"]
            size = lr
            if first:
                size = min(1.0, 1.0 / float(self.grad.abs().sum())) * lr
            kept["t"] = size
            slope = _dot(self.grad, direction)
            if slope > -tolerance:
                break
            more = self._walk(size, slope, last=n == group["max_iter"])
            self.evaluations += more
            state["func_evals"] += more
            if n == group["max_iter"] or self.evaluations >= group["max_eval"]:
                break
            if float(self.grad.abs().max()) <= group["tolerance_grad"]:
                break
            if float((direction * kept["t"]).abs().max()) <= tolerance:
                break
            if abs(self.loss - before) < tolerance:
                break

    def _direction(self) -> None:
        """Take in the last change of the gradient, and find where to go from here."""
        kept = self.kept
        dirs, steps, inverse = kept["old_dirs"], kept["old_stps"], kept["ro"]
        change = self.grad.sub(kept["prev_flat_grad"])
        moved = kept["d"].mul(kept["t"])
        curvature = change.dot(moved)
        if float(curvature) > 1e-10:
            if len(dirs) == self.group["history_size"]:
                for held in (dirs, steps, inverse):
                    held.pop(0)
            dirs.append(change)
            steps.append(moved)
            inverse.append(1.0 / curvature)
            kept["H_diag"] = curvature / change.dot(change)
        weights = self.state.setdefault("al", [None] * self.group["history_size"])
        q = self.grad.neg()
        for k in reversed(range(len(dirs))):
            weights[k] = steps[k].dot(q) * inverse[k]
            q.sub_(dirs[k] * weights[k])
        q = q * kept["H_diag"]
        for k in range(len(dirs)):
            q.add_(steps[k] * (weights[k] - dirs[k].dot(q) * inverse[k]))
        kept["d"] = q

    def _walk(self, size: float, slope: float, last: bool) -> int:
        """Move along the direction; return how often the loss was computed."""
        optimizer, kept = self.optimizer, self.kept
        direction: Tensor = kept["d"]
        search = self.group["line_search_fn"]
        if search is None:
            optimizer._move(size, direction)
            if last:
                return 0
            self.loss = float(self.compute())
            self.grad = optimizer._flat_grad()
            return 1
        if search != "strong_wolfe":
            raise RuntimeError(
                message(
                    "LBFGS",
                    f"line_search_fn={search!r}",
                    "'strong_wolfe' or None",
                    "only 'strong_wolfe' is supported",
                )
            )
        start = [p.detach().clone() for p in optimizer._params]

        def probe(t: float) -> tuple[float, Tensor, float]:
            optimizer._move(t, direction)
            loss = float(self.compute())
            grad = optimizer._flat_grad()
            for p, value in zip(optimizer._params, start, strict=True):
                p.copy_(value)
            return loss, grad, _dot(grad, direction)

        self.loss, self.grad, kept["t"], count = strong_wolfe(
            probe,
            size,
            float(direction.abs().max()),
            (self.loss, self.grad, slope),
            self.group["tolerance_change"],
            self.group["max_eval"] - self.evaluations,
        )
        optimizer._move(kept["t"], direction)
        return count


def _dot(a: Tensor, b: Tensor) -> float:
    return float(a.dot(b))
