"""Whole functions compiled: `nt.jit`."""
