"""numtensor: PyTorch's tensors and autograd, every kernel Python compiled by Numba.

`import numtensor as torch` gives a PyTorch program its tensors. Operators come from
their declarations in `numtensor.ops`; everything else that is public is listed here.
"""

from pathlib import Path as _Path
from typing import Any

# In a checkout kernels/ stands beside this package, and is one of its parts only once
# installed; let `import numtensor` work there without an installation too.
_above = _Path(__file__).parent.parent
if (_above / "kernels" / "compiler.py").is_file():
    __path__.append(str(_above))

from . import errors as errors
from ._version import __version__ as __version__
from .devices import device as device
from .dtypes import can_cast as can_cast
from .dtypes import dtype as dtype
from .dtypes import finfo as finfo
from .dtypes import float16 as float16
from .dtypes import float32 as float32
from .dtypes import float64 as float64
from .dtypes import get_default_dtype as get_default_dtype
from .dtypes import iinfo as iinfo
from .dtypes import int8 as int8
from .dtypes import int16 as int16
from .dtypes import int32 as int32
from .dtypes import int64 as int64
from .dtypes import promote_types as promote_types
from .dtypes import set_default_dtype as set_default_dtype
from .dtypes import uint8 as uint8
from .inquiry import get_num_threads as get_num_threads
from .inquiry import is_complex as is_complex
from .inquiry import is_floating_point as is_floating_point
from .inquiry import is_nonzero as is_nonzero
from .inquiry import is_tensor as is_tensor
from .inquiry import kernel_source as kernel_source
from .inquiry import numel as numel
from .inquiry import result_type as result_type
from .inquiry import set_num_threads as set_num_threads
from .layout import Size as Size
from .printing import set_printoptions as set_printoptions
from .random import Generator as Generator
from .random import default_generator as default_generator
from .random import get_rng_state as get_rng_state
from .random import initial_seed as initial_seed
from .random import manual_seed as manual_seed
from .random import seed as seed
from .random import set_rng_state as set_rng_state
from .tape import enable_grad as enable_grad
from .tape import inference_mode as inference_mode
from .tape import is_grad_enabled as is_grad_enabled
from .tape import no_grad as no_grad
from .tape import set_grad_enabled as set_grad_enabled
from .tensor import Tensor as Tensor

# isort: split
from .ops.registry import PUBLIC as _FUNCTIONS  # declares all operators

# isort: split
from . import autograd as autograd
from . import cuda as cuda
from . import random as random
from . import sampling as _sampling
from .creation import as_tensor as as_tensor
from .creation import asarray as asarray
from .creation import from_numpy as from_numpy
from .creation import tensor as tensor
from .dlpack import from_dlpack as from_dlpack
from .dlpack import to_dlpack as to_dlpack
from .factories import empty_strided as empty_strided
from .factories import scalar_tensor as scalar_tensor
from .jit.front import jit as jit
from .jit.front import jit_disabled as jit_disabled
from .ops.copies import contiguous_format as contiguous_format
from .ops.copies import preserve_format as preserve_format
from .ops.naming import align_tensors as align_tensors

globals().update(_FUNCTIONS)

#: PyTorch's name of `jit`; it hides the builtin here
compile = jit

# PyTorch's other names of dtypes; `bool`, `int` and `float` hide the builtins here,
# as they do in torch
double = float64
half = float16
short = int16
int = int32
long = int64
float = float32
from .dtypes import bool_ as bool

#: modules that programs may name without importing them, loaded when they do
_LATER = ("func", "nn", "optim", "utils", "serialization")
#: functions of `nn.functional` that PyTorch has at its top, too
_FUNCTIONAL = frozenset(
    [
        "alpha_dropout",
        "avg_pool1d",
        "adaptive_avg_pool1d",
        "adaptive_max_pool1d",
        "batch_norm",
        "bilinear",
        "binary_cross_entropy_with_logits",
        "celu_",
        "constant_pad_nd",
        "conv1d",
        "conv2d",
        "conv3d",
        "conv_transpose1d",
        "conv_transpose2d",
        "conv_transpose3d",
        "cosine_embedding_loss",
        "cosine_similarity",
        "dropout",
        "embedding",
        "group_norm",
        "hinge_embedding_loss",
        "instance_norm",
        "kl_div",
        "layer_norm",
        "margin_ranking_loss",
        "max_pool1d",
        "max_pool2d",
        "max_pool3d",
        "pairwise_distance",
        "pixel_shuffle",
        "pixel_unshuffle",
        "poisson_nll_loss",
        "rms_norm",
        "rrelu",
        "selu_",
        "threshold",
        "triplet_margin_loss",
    ]
)


def __getattr__(name: str) -> Any:
    """Load a module the first time it is asked for.

    Operators are entered from their declarations, which no checker can see.
    """
    if name in _LATER:
        from importlib import import_module

        return import_module(f"{__name__}.{name}")
    if name in ("load", "save"):  # most programs read and write no files
        from . import serialization

        return getattr(serialization, name)
    if name in _FUNCTIONAL:
        from .nn import functional

        return getattr(functional, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
