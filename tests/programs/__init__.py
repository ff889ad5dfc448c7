"""Programs of an introductory book's kind, written for PyTorch.

Each is run with `numtensor` in place of `torch`, and has to print what PyTorch prints:
tests/test_programs.py. `python -m tests.programs` records that, where PyTorch is.
"""
