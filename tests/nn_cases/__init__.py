"""Cases of `nn`, one file per family, each run in numtensor and in PyTorch.

A file of this folder holds a list `CASES` of `Case`. One case is one call, written with
`lib`, which is numtensor or torch, so that the same line runs in both:

    Case("linear", lambda lib, x, w: lib.nn.functional.linear(x, w),
         floats(2, 3), floats(4, 3))
    Case("Linear", floats(2, 3), module=lambda lib: lib.nn.Linear(3, 4))

The arguments after the name are inputs: `floats(*shape)`, `integers(high, *shape)`,
`given(values)`; all floats are float64 and get gradients unless `grad=False`. With
`module=`, a module is built (the default dtype is float64), its parameters are filled
with numbers that depend on the case alone, and it is called with the inputs, or
`call(module, *inputs)` is made if there is a call too. Random results have no place
here.

What is compared: the outputs, the gradients of a weighted sum of all outputs with
respect to every input and parameter, and the module's buffers afterwards. Expected
values stand in `tests/data/nn_<family>.npz`; `python tests/record_nn.py FAMILY` renews
a file where PyTorch is installed. `tests/test_nn_cases.py` runs everything:

- all cases against what was recorded, and against PyTorch itself where installed;
- `gradgradcheck` for those with `smooth=True`: small ones please;
- those with `device=True` on the (simulated) GPU against the CPU: a few, tiny;
- modules' reprs against PyTorch's.
"""

from __future__ import annotations

import importlib
import io
import json
import math
import pkgutil
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).parent.parent / "data"


class Input:
    """How the value of one argument is drawn: `draw(rng)` gives an array."""

    def __init__(self, draw: Callable[[Any], np.ndarray], grad: bool) -> None:
        self.draw = draw
        self.grad = grad


def floats(*shape, low=-2.0, high=2.0, grad=True):
    """Uniform float64 numbers."""
    return Input(lambda rng: rng.uniform(low, high, shape), grad)


def distinct(*shape, step=0.1, grad=True):
    """Float64 numbers no two of which are closer than `step`: for maxima."""

    def draw(rng):
        count = int(np.prod(shape))
        return (rng.permutation(count) * step - count * step / 2).reshape(shape)

    return Input(draw, grad)


def integers(high, *shape, low=0):
    """Uniform int64 numbers from `low` to `high`, exclusive."""
    return Input(lambda rng: rng.integers(low, high, shape), False)


def given(values, grad=False):
    """Return exactly these values: an array, or nested lists."""
    return Input(lambda rng: np.array(values), grad)


class Case:
    """One call that gives the same in both libraries. See the top of this file."""

    def __init__(
        self,
        name: str,
        *parts: Any,
        module: Callable[[Any], Any] | None = None,
        smooth: bool = False,
        device: bool = False,
        tolerance: float = 1e-10,  # relative to values of about 1; say why if larger
    ) -> None:
        self.name = name
        self.call = None
        if parts and not isinstance(parts[0], Input):
            self.call, *parts = parts
        self.inputs = tuple(parts)
        self.module = module
        self.smooth = smooth
        self.device = device
        self.tolerance = tolerance
        if self.call is None and module is None:
            raise ValueError(f"{name}: neither a call nor a module")

    def rng(self):
        return np.random.default_rng(zlib.crc32(self.name.encode()))


class Run:
    """A case set up in one library: inputs, module, and `outputs()`."""

    def __init__(self, case: Case, lib: Any, device: str = "cpu") -> None:
        self.case, self.lib = case, lib
        rng = case.rng()
        before = lib.get_default_dtype()
        lib.set_default_dtype(lib.float64)
        try:
            self.inputs = []
            for wanted in case.inputs:
                x = lib.tensor(wanted.draw(rng), device=device)
                self.inputs.append(x.requires_grad_() if wanted.grad else x)
            self.module = None if case.module is None else case.module(lib)
        finally:
            lib.set_default_dtype(before)
        self.parameters = {}
        if self.module is not None:
            if device != "cpu":
                self.module.to(device)
            # in an order that does not depend on the library
            found = dict(self.module.named_parameters())
            for name in sorted(found):
                values = rng.uniform(-1.0, 1.0, tuple(found[name].shape))
                with lib.no_grad():
                    found[name].copy_(lib.tensor(values))
                self.parameters[name] = found[name]

    def outputs(self) -> list[Any]:
        """Make the call; return the tensors of its result."""
        call, args = self.case.call, self.inputs
        if self.module is None:
            result = call(self.lib, *args)
        elif call is None:
            result = self.module(*args)
        else:
            result = call(self.module, *args)
        many = result if isinstance(result, (tuple, list)) else (result,)
        return [t for t in many if t is not None]

    def leaves(self) -> dict[str, Any]:
        """Return what gets gradients, by name."""
        found = {f"x{k}": x for k, x in enumerate(self.inputs) if x.requires_grad}
        found.update({k: p for k, p in self.parameters.items() if p.requires_grad})
        return found

    def everything(self) -> dict[str, np.ndarray]:
        """Return outputs, gradients and buffers, by name."""
        outputs = self.outputs()
        found = {f"out{k}": array(t) for k, t in enumerate(outputs)}
        rng = np.random.default_rng(11)
        total = None
        for t in outputs:
            weights = rng.uniform(0.5, 1.5, tuple(t.shape))
            if t.requires_grad:
                part = (t * self.lib.tensor(weights, device=t.device)).sum()
                total = part if total is None else total + part
        if total is not None:
            total.backward()
            for name, leaf in self.leaves().items():
                if leaf.grad is not None:
                    found[f"grad {name}"] = array(leaf.grad)
        if self.module is not None:
            for name, buffer in self.module.named_buffers():
                found[f"buffer {name}"] = array(buffer)
        return found


def array(tensor: Any) -> np.ndarray:
    """Return a copy of a tensor's values on the host."""
    return np.array(tensor.detach().cpu().numpy())


def families() -> dict[str, list[Case]]:
    """Return the cases of every file of this folder."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        cases = importlib.import_module(f"{__name__}.{module.name}").CASES
        names = [case.name for case in cases]
        twice = {name for name in names if names.count(name) > 1}
        assert not twice, f"{module.name}: cases of one name: {twice}"
        found[module.name] = cases
    return found


def recorded(family: str) -> dict[str, dict[str, np.ndarray]]:
    """Return the expected values of a family: case -> name -> array."""
    found: dict[str, dict[str, np.ndarray]] = {}
    path = DATA / f"nn_{family}.npz"
    if not path.exists():
        return found
    with np.load(path) as file:
        index = json.loads(file["index"].tobytes())
        values = file["values"].tobytes()
    start = 0
    for case, name, dtype, shape in index:
        kind = np.dtype(dtype)
        end = start + kind.itemsize * math.prod(shape)
        part = np.frombuffer(values[start:end], kind).reshape(shape)
        found.setdefault(case, {})[name] = part
        start = end
    return found


def write(family: str, found: dict[str, dict[str, np.ndarray]]) -> Path:
    """Write what `recorded` reads: an index, and all values one after the other."""
    DATA.mkdir(exist_ok=True)
    path = DATA / f"nn_{family}.npz"
    index, values = [], []
    for case, arrays in found.items():
        for name, array in arrays.items():
            index.append((case, name, array.dtype.str, array.shape))
            values.append(array.tobytes())
    parts = {"index": json.dumps(index).encode(), "values": b"".join(values)}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, raw in parts.items():
            stream = io.BytesIO()
            np.save(stream, np.frombuffer(raw, np.uint8))
            # np.savez would store the time: a file should be the same bytes again
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(entry, stream.getvalue())
    return path
