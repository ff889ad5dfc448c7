"""Tensors in files: PyTorch's formats, safetensors and NumPy's."""
