"""Tensors in files: PyTorch's formats, safetensors and NumPy's.

`save` and `load` are `numtensor.save` and `numtensor.load`. There is no
`add_safe_globals`: files hold data, and nothing in them can name code to run.
"""

from .faults import FileError as FileError
from .faults import FolderError as FolderError
from .faults import MmapError as MmapError
from .faults import PicklingError as PicklingError
from .faults import UnpicklingError as UnpicklingError
from .front import load as load
from .front import save as save
