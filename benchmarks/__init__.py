"""Side-by-side timing of numtensor, NumPy, PyTorch, JAX: `python -m benchmarks small`.

Each library runs in a process of its own; the parent (`runner`) asks them for
samples in turn, `worker` answers, `report` turns the samples into medians, ratios
and one table per group. `workloads/` holds what is timed inside a live process,
`programs` what is timed as a whole process; `jit` measures and judges compiled steps.
Every number printed is measured in that run: no result is written down here, only the
targets.

What must not come in: tests of correctness (but `jit` times only what agrees), and any
import of a library that is timed (each is imported by its own worker alone). numtensor
is timed as installed.
"""
