"""Every CUDA kernel of the library, compiled where there is no GPU, in a table.

Operators are called on a device that runs nothing, to learn which kernels they need:
all operators in every class of layouts, both ways. `kernels.cuda.check` compiles those
and finds their faults. Imported by the command line only: the process that asks for
kernels here has no other CUDA device from then on.
"""

from __future__ import annotations

import ctypes
import fnmatch
import inspect
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import dtypes, factories, warmup
from .errors import DTypeError, message
from .kernels.cuda import check, driver
from .kernels.cuda.recorder import Recorder
from .ops.registry import Declared, everything
from .tensor import Tensor

#: jobs that are no operators: casts and copies, fills in place, steps of optimisers,
#: functions that are jitted
COPIES, FILLS, STEPS, JITTED = "copies", "fills", "steps", "jit"
#: what stands for its kind in every dtype; the others come in one or two
_IN_EVERY_DTYPE = (COPIES, FILLS, "add", "sum", "amax", "argmax")
#: float16 stays on the host
_NAMES = tuple(d.name for d in dtypes.ALL if d is not dtypes.float16)
_FILLS: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("zero_", ()),
    ("fill_", (2,)),
    ("uniform_", ()),
    ("normal_", ()),
    ("exponential_", ()),
    ("random_", ()),
    ("bernoulli_", ()),
)
#: what factories without samples are called with
_SIZES: dict[str, tuple[Any, ...]] = {
    "arange": (12,),
    "linspace": (0, 1, 12),
    "logspace": (0, 1, 12),
    "eye": (4, 5),
    "full": ((6,), 2),
    "full_like": (2,),
}
#: what goes by pieces on a device if it is as long as `_MANY`: the tensor "x", a mask
#: "m", numbers
_LONG: dict[str, tuple[Any, ...]] = {
    "cumsum": ("x", 0),
    "cumprod": ("x", 0),
    "cummax": ("x", 0),
    "cummin": ("x", 0),
    "logcumsumexp": ("x", 0),
    "masked_select": ("x", "m"),
}
_MANY = 20_000


#: so many elements that what runs across the rest goes by tiles
_LARGE = (160, 160)


@dataclass(frozen=True)
class Kernel:
    """A kernel to compile."""

    name: str
    path: Path
    source: str


@dataclass(frozen=True)
class Checked:
    """A kernel and what became of it, architecture by architecture."""

    kernel: Kernel
    results: tuple[check.Result, ...]


class _Answering(Recorder):
    """A recorder that counts launches, and whose memory holds zeros, or also ones.

    Where the host decides by what it reads, it should be told both: false and true,
    none and one. Ones are those of int64, or the first of each eight bytes.
    """

    truth = False

    def __init__(self) -> None:
        super().__init__()
        self.launched = 0

    def launch(self, *args: Any) -> None:
        self.launched += 1

    def download(
        self, index: int, host: int, source: int, nbytes: int, stream: Any, wait: bool
    ) -> None:
        ctypes.memset(host, 0, nbytes)
        if self.truth:
            for at in range(host, host + nbytes, 8):
                ctypes.memset(at, 1, 1)


# Which calls there are


def jobs(only: str = "*", every: bool = False) -> list[warmup.Job]:
    """Return the jobs whose name matches `only`; `every` asks for all dtypes."""
    found = []
    for name in (COPIES, FILLS, STEPS, JITTED, *everything()):
        if fnmatch.fnmatch(name, only):
            wide = every or name in _IN_EVERY_DTYPE
            kinds = _accepted(name) if wide else _usual(name)
            found += [warmup.Job(name, kind) for kind in kinds]
    return found


def _accepted(name: str) -> tuple[str, ...]:
    """The dtypes of a job; of an operator that takes all, some may still raise."""
    declared = everything().get(name)
    if name in (STEPS, JITTED):
        return ("float32", "float64")
    if declared is None:
        return _NAMES
    if declared.kind == "factory" and declared.samples is not None:
        return _NAMES[1:]  # the samples draw numbers that no bool holds
    whole = tuple(d.name for d in dtypes.ALL if d.category == dtypes.INTEGER)
    return {
        "float": ("float32", "float64"),
        "number": _NAMES[1:],
        "integer": ("bool", *whole),
        "integer_number": whole,
    }.get(declared.dtypes, _NAMES)


def _usual(name: str) -> tuple[str, ...]:
    """The dtypes that a job must accept."""
    if name == JITTED:
        return ("float32",)
    declared = everything().get(name)
    if declared is not None and declared.dtypes.startswith("integer"):
        return ("int64",)
    return ("float32", "float64")


def _calls(job: warmup.Job) -> Iterator[tuple[Declared | None, warmup.Call]]:
    """Return what to call for a job, with the operator to differentiate, if any."""
    declared = everything().get(job.name)
    if declared is None:
        from .cuda_check_jit import calls

        makers = {COPIES: _copies, FILLS: _fills, STEPS: _steps, JITTED: calls}
        found = makers[job.name](job.dtype)
        yield from ((None, call) for call in found)
        return
    if declared.kind == "factory":
        yield from ((declared, call) for call in _factory(declared, job.dtype))
        return
    yield from ((declared, c) for c in warmup.calls(declared, job.dtype, "cuda"))
    call = declared.operator if declared.kind == "elementwise" else declared.call
    for args in _more(declared, job.dtype):
        yield declared, (call, args, {})


def _empty(shape: tuple[int, ...], dtype: str) -> Tensor:
    return factories.empty(shape, dtype=dtype, device="cuda")


def _more(declared: Declared, dtype: str) -> Iterator[tuple[Any, ...]]:
    """Arguments for what the CPU's kernels need not tell apart, or has no samples."""
    if declared.kind == "elementwise":
        yield from _crossing(declared, dtype)
        return
    if declared.name in _LONG:
        long = {"x": _empty((_MANY,), dtype), "m": _empty((_MANY,), "bool")}
        yield tuple(long.get(a, a) for a in _LONG[declared.name])
    if declared.samples is not None:
        return
    x = _empty((6, 16), dtype)
    parameters = inspect.signature(declared.call).parameters.values()
    taken = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    if sum(p.default is p.empty for p in taken) > 1:
        yield (x, x)
        yield (x, x.t().contiguous().t())
        return
    for args in (
        (x,), (x, 0), (x, 1), (x.t(), 0), (x[:, ::2], 1),
        (_empty((4, 1000), dtype), 1),  # a row to a block
        (_empty((1000, 16), dtype), 0),  # columns in pieces
        (_empty((3_000_000,), dtype),),  # so many pieces that blocks join them
        (_empty((3, 4, 5), dtype).transpose(0, 1), 1),
    ):  # fmt: skip
        yield args[: len(taken)]


def _crossing(declared: Declared, dtype: str) -> Iterator[tuple[Any, ...]]:
    """Large operands, of which the first runs across the others, or they across it."""
    roles = declared.operator.roles
    tensors = [k for k, role in enumerate(roles) if role != "s"]
    for turned in (tensors[:1], tensors[1:]):
        if turned:
            args = [
                2 if role == "s" else _empty(_LARGE, "bool" if role == "b" else dtype)
                for role in roles
            ]
            for k in turned:
                args[k] = args[k].t()  # type: ignore[union-attr]
            yield tuple(args)


def _factory(declared: Declared, dtype: str) -> Iterator[warmup.Call]:
    keywords: dict[str, Any] = {"dtype": dtype, "device": "cuda"}
    accepted = inspect.signature(declared.call).parameters
    keywords = {k: v for k, v in keywords.items() if k in accepted}
    if declared.samples is not None:
        for call, args, given in warmup.calls(declared, dtype, "cuda"):
            # what takes its device from a tensor takes its dtype, too
            like = any(isinstance(a, Tensor) for a in args)
            yield call, args, given if like else keywords | given
        return
    args = _SIZES.get(declared.name, () if "_like" in declared.name else (6,))
    if "_like" in declared.name:
        args = (_empty((6,), dtype), *args)
    yield declared.call, args, keywords


def _copies(dtype: str) -> Iterator[warmup.Call]:
    x, deep = _empty((6, 16), dtype), _empty((2, 3, 4, 5), dtype)
    views = (x, x.t(), x[:, ::2], deep.permute(0, 2, 1, 3), deep.permute(3, 1, 0, 2))
    for view in views[:3]:
        for other in _NAMES:
            yield view.to, (dtypes.find(other),), {}
    for view in views:
        yield view.contiguous, (), {}
    yield x.__setitem__, (0, x[1]), {}
    yield x.__setitem__, ((slice(None), 0), 1), {}


def _fills(dtype: str) -> Iterator[warmup.Call]:
    whole = dtypes.find(dtype).category != dtypes.FLOAT
    for shape in ((6, 16), (6, 32)):
        x = _empty(shape, dtype)[:, :16]
        for name, args in _FILLS:
            if not (whole and name in ("uniform_", "normal_", "exponential_")):
                yield getattr(x, name), args, {}


def _steps(dtype: str) -> Iterator[warmup.Call]:
    from . import optim

    large, small, other = (_empty((n,), dtype) for n in (100_000, 6, 6))
    for p in (large, small, other):
        p.requires_grad_()
        p.grad = _empty(tuple(p.shape), dtype)
    for name, options in (
        ("SGD", {}),
        ("SGD", {"momentum": 0.9, "nesterov": True}),
        ("Adam", {"weight_decay": 0.1}),
        ("AdamW", {"amsgrad": True}),
        ("Adamax", {}),
        ("NAdam", {}),
        ("RAdam", {}),
        ("RMSprop", {"momentum": 0.9, "centered": True}),
        ("Adagrad", {}),
        ("Adadelta", {}),
        ("ASGD", {}),
        ("Rprop", {}),
    ):
        yield getattr(optim, name)([large, small, other], **options).step, (), {}


# What they ask for


def record(
    found: Sequence[warmup.Job],
) -> tuple[list[Kernel], list[str], list[str]]:
    """Return the kernels that jobs need, each once, the errors of their calls, and
    what the host does instead, and why."""
    recorder = _Answering()
    driver.use(recorder)
    errors: list[str] = []
    reasons: dict[str, str] = {}
    for job in found:
        declared = everything().get(job.name)
        usual = job.dtype in _usual(job.name) or job.name in (COPIES, FILLS)
        faults, launches = _run(job, recorder, usual)
        none = usual and not faults and not launches
        if declared is not None and declared.host:
            reasons[job.name] = f"{job.name}: {declared.host}"
        elif none and not (declared and _needs_none(declared)):
            faults = [f"{job.name} ({job.dtype}) launches no kernel"]
        errors += faults
    kernels = [Kernel(k.name, k.path, k.source) for k in recorder.kernels.values()]
    kernels.sort(key=lambda k: (k.name, k.source))
    return kernels, errors, list(reasons.values())


def _needs_none(declared: Declared) -> bool:
    """Whether an operator has nothing to compute: a view, memory as it was found."""
    return declared.kind == "view" or declared.name in ("empty", "empty_like")


def _run(job: warmup.Job, recorder: _Answering, usual: bool) -> tuple[list[str], int]:
    """Make the calls of a job; return its errors, and how many launches they make
    without those of the way back.

    An error counts if it comes whatever the host reads.
    """
    errors: dict[str, None] = {}
    launches = 0
    try:
        for declared, (call, args, keywords) in _calls(job):
            faults: list[Exception] = []
            for truth in (False, True):
                recorder.truth = truth
                before = recorder.launched
                try:
                    call(*args, **keywords)
                    launches += recorder.launched - before
                    if declared is not None:
                        warmup.differentiate(declared, call, args, keywords)
                except Exception as error:
                    faults.append(error)
            refused = any(isinstance(f, DTypeError) for f in faults)
            if refused and not usual:
                return [], launches  # no dtype of this operator
            if len(faults) == 2:
                errors[_told(job, faults[0])] = None
    except DTypeError as error:
        # its arguments cannot be made in this dtype
        return [_told(job, error)] if usual else [], launches
    return list(errors), launches


def _told(job: warmup.Job, error: Exception) -> str:
    what = f"{type(error).__name__}: {error}"
    return f"{job.name} ({job.dtype}) cannot be called: {what}"


# Compiling


def compile_all(
    kernels: Sequence[Kernel],
    archs: Sequence[str],
    processes: int,
    done: Callable[[Checked], None],
) -> list[Checked]:
    """Compile kernels for all architectures in so many processes."""
    tasks = [(kernel, tuple(archs)) for kernel in kernels]
    found = []
    for checked in _checked(tasks, processes):
        found.append(checked)
        done(checked)
    return sorted(found, key=lambda c: (c.kernel.name, c.kernel.source))


def _checked(
    tasks: Sequence[tuple[Kernel, tuple[str, ...]]], processes: int
) -> Iterator[Checked]:
    if processes <= 1 or len(tasks) <= 2:
        yield from map(_check, tasks)
        return
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    with context.Pool(min(processes, len(tasks))) as pool:
        yield from pool.imap_unordered(_check, tasks, chunksize=4)


def _check(task: tuple[Kernel, tuple[str, ...]]) -> Checked:
    kernel, archs = task
    results = check.check(kernel.name, kernel.path, kernel.source, archs)
    return Checked(kernel, tuple(results))


# What is printed

_HEAD = (
    "kernel", "form", "operands", "registers", "spills", "stack", "shared", "load",
    "store", "moved",
)  # fmt: skip


def table(found: Iterable[Checked]) -> list[str]:
    """Return the lines of the table: a head, and a row for each kernel."""
    rows = [_HEAD, *(_row(checked) for checked in found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{text:{w}}" for text, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _row(checked: Checked) -> tuple[str, ...]:
    source, results = checked.kernel.source, checked.results
    usages, traffics = [r.usage for r in results], [r.traffic for r in results]

    def every(values: Iterable[Any]) -> str:
        texts = [f"{value:g}" for value in values]
        return texts[0] if len(set(texts)) == 1 else "/".join(texts)

    moved = ""
    if all(t.moved is not None and t.least is not None for t in traffics):
        least = traffics[0].least
        moved = f"{every(t.moved for t in traffics)} of {least}"
    return (
        checked.kernel.name,
        check.form_of(source),
        _operands(source),
        every(u.registers for u in usages),
        every(u.spill_stores + u.spill_loads for u in usages),
        every(u.stack for u in usages),
        every(u.shared for u in usages),
        every(t.load for t in traffics),
        every(t.store for t in traffics),
        moved,
    )


def _operands(source: str) -> str:
    """Return "float32, float32 zero -> float32": steps are unit unless it says."""
    given = check.operands(source)

    def text(written: bool) -> str:
        return ", ".join(
            o.dtype if o.step in ("unit", "") else f"{o.dtype} {o.step}"
            for o in given
            if o.written is written
        )

    return f"{text(False)} -> {text(True)}".strip()


def faulty(found: Iterable[Checked]) -> list[str]:
    """Return a line for each fault, the architectures that have it together."""
    lines = []
    for checked in found:
        where: dict[str, list[str]] = {}
        for result in checked.results:
            for fault in result.faults:
                where.setdefault(fault, []).append(result.arch)
        kernel = checked.kernel
        for fault, archs in where.items():
            what = f"{kernel.name} ({check.form_of(kernel.source)}, {', '.join(archs)})"
            lines.append(f"{what} {fault}: {kernel.path}")
    return lines


def verdict(found: Sequence[Checked], errors: Sequence[str], quiet: bool) -> int:
    """Print the table, unless `quiet`, and what is wrong; return the exit status."""
    if not quiet and found:
        print("\n".join(table(found)))
        archs = "/".join(r.arch for r in found[0].results)
        print(
            f"\nsizes in bytes, load and store in bits, a/b/c for {archs} where they "
            "differ; moved: bytes of one element, by the loads and stores of its loop"
        )
    lines = [*errors, *faulty(found)]
    for line in lines:
        print(f"failed: {line}", file=sys.stderr)
    return 1 if lines else 0


def unable() -> str:
    """Return why nothing can be compiled here, as an error says it; empty if it can."""
    fault = check.missing()
    if not fault:
        return ""
    how = (
        "pip install 'numtensor[cuda12]', which brings all of them and needs no GPU; "
        "beside 'numtensor[cuda13]', ptxas comes with pip install nvidia-cuda-nvcc."
    )
    if driver.simulating():
        how = "Unset NUMBA_ENABLE_CUDASIM: the simulator has no machine code to check."
    return message("cuda-check", fault, "numba-cuda, NVVM and ptxas", how)


def run(
    archs: Sequence[str],
    only: str,
    every: bool,
    processes: int,
    quiet: bool,
) -> int:
    """Check kernels and print; return 0, or 1 for faults, or 2 if nothing could be."""
    from tqdm import tqdm

    fault = unable()
    found = jobs(only, every)
    if not fault and not found:
        fault = message("cuda-check", f"{only!r}", "a pattern that operators match")
    if fault:
        print(fault, file=sys.stderr)
        return 2
    start = time.perf_counter()
    kernels, errors, reasons = record(found)
    with tqdm(total=len(kernels), unit="kernel", disable=quiet) as bar:

        def done(checked: Checked) -> None:
            bar.set_postfix_str(checked.kernel.name, refresh=False)
            bar.update()

        checked = compile_all(kernels, archs, processes, done)
    status = verdict(checked, errors, quiet)
    for reason in reasons:
        print(reason)
    seconds = time.perf_counter() - start
    wrong = sum(any(r.faults for r in c.results) for c in checked)
    print(
        f"{len(checked)} kernels compiled for {', '.join(archs)} in {seconds:.0f} s: "
        f"{wrong} with faults, {len(errors)} calls failed"
    )
    return status
