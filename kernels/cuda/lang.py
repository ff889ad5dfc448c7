"""The words an emitted CUDA kernel is written in. Imported by kernel files only.

Each word has two bodies. In `words` it is an instruction, a call into libdevice or a
device function, for kernels compiled to machine code. In `plain` it is Python on NumPy
scalars, for Numba's simulator, which knows neither intrinsics nor warps. The text of a
kernel is the same for both.
"""

from numba.cuda.core import config

if config.ENABLE_CUDASIM:
    from .plain import *  # noqa: F403
else:
    from .across import *  # noqa: F403
    from .words import *  # noqa: F403
