"""numtensor: PyTorch's tensors and autograd, every kernel Python compiled by Numba.

`import numtensor as torch` gives a PyTorch program its tensors. Operators come from
their declarations in `numtensor.ops`; everything else that is public is listed here.
"""

from typing import TYPE_CHECKING, Any

from . import errors as errors
from .devices import device as device
from .dtypes import can_cast as can_cast
from .dtypes import dtype as dtype
from .dtypes import finfo as finfo
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
from .layout import Size as Size
from .printing import set_printoptions as set_printoptions
from .tape import enable_grad as enable_grad
from .tape import inference_mode as inference_mode
from .tape import is_grad_enabled as is_grad_enabled
from .tape import no_grad as no_grad
from .tape import set_grad_enabled as set_grad_enabled
from .tensor import Tensor as Tensor

# isort: split
from .ops import arithmetic as _arithmetic
from .ops import comparison as _comparison
from .ops import exponential as _exponential
from .ops import joining as _joining
from .ops import linear as _linear
from .ops import reductions as _reductions
from .ops import selection as _selection
from .ops import views as _views
from .ops.registry import FUNCTIONS as _FUNCTIONS

# isort: split
from . import autograd as autograd
from .creation import as_tensor as as_tensor
from .creation import asarray as asarray
from .creation import empty_strided as empty_strided
from .creation import from_numpy as from_numpy
from .creation import scalar_tensor as scalar_tensor
from .creation import tensor as tensor
from .ops.views import contiguous_format as contiguous_format
from .ops.views import preserve_format as preserve_format

__version__ = "0.1.0"

globals().update(_FUNCTIONS)

# PyTorch's other names of dtypes; `bool`, `int` and `float` hide the builtins here,
# as they do in torch
double = float64
short = int16
int = int32
long = int64
float = float32
from .dtypes import bool_ as bool  # noqa: E402, A004
