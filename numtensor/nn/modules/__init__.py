"""The modules of `nn`, one file per family."""
