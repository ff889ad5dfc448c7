"""Kernels written by hand as tasks, one text for both targets; a family to a file."""
