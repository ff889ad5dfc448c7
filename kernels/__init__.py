"""The rooms that know Numba: expressions, loop nests, emitted source, compiled code.

Installed as `numtensor.kernels`. Nothing in here knows a Tensor, the tape or a
dimension name; kernels see addresses, sizes and strides, and trust them, because
`numtensor.dispatch` has checked them.

- `expr`: symbolic scalars, the expression a kernel computes for one element
- `mathlib`: elementary functions as expressions that LLVM can vectorise
- `loops`: loop nests, that is iteration space, operands, reductions
- `lang`: the words an emitted kernel is written in (the one user of Numba's
  extension API)
- `compiler`: source text to machine code, the on-disk cache, runners and threads
- `cpu`: loop nests printed as Python for the CPU, and the hand-written families

Importing this package imports neither Numba nor LLVM: both load with the first
kernel that has to be compiled or linked.
"""
