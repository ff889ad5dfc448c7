"""Kernels for NVIDIA GPUs: what prints them, their words, and the devices they run on.

`emit` and `reduce_emit` print loop nests; `matmul` and `random` print what is written
by hand. Kernel files are written in the words of `lang`, which have two bodies: `words`
and `across` for the GPU, `plain` for Numba's simulator. `driver` is the way to a
device, by `hardware`, `simulator` or `recorder`; `check` compiles for GPUs that are not
there.
"""
