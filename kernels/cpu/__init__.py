"""Loop nests printed as Python for the CPU, and the families written by hand."""
