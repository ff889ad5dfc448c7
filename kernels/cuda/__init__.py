"""Kernels for NVIDIA GPUs: what prints them, their words, and the devices they run on.

`emit` and `reduce_emit` print loop nests, `matmul`, `random`, `ramp` and `scatter` are
written by hand. Kernel files are written in the words of `lang`, which have two bodies:
`words` for the GPU and `plain` for Numba's simulator. `driver` is the way to a device.
"""
