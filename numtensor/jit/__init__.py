"""Whole functions compiled: `nt.jit`.

`front` is what users call. `tracer` runs a function on traced tensors and says what it
did, with `roots` (what it reaches), `nesting` (its arguments and results) and
`gradients` (its way back). `ir` is what a trace is made of; `fuse` and the files that
it imports make loops of it; `lower`, `small` and `program` make kernels of the loops
and run them. `special` is the call that replaces the function; `table`, `printed` and
`notice` show it. How tensors are traced at all is in `numtensor.tracing`.
"""
