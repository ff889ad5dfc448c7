"""Automatic differentiation: gradients on demand, functions with their own way back,
and the check of gradients against finite differences.

The tape itself is `numtensor.tape`; operators and their gradients are in `ops`.
"""

from ..tape import Node as Node
from ..tape import enable_grad as enable_grad
from ..tape import inference_mode as inference_mode
from ..tape import no_grad as no_grad
from ..tape import set_grad_enabled as set_grad_enabled
from ..tensor import Tensor as Variable
from . import function as function
from . import functional as functional
from .function import Function as Function
from .grad import backward as backward
from .grad import grad as grad
from .gradcheck import GradcheckError as GradcheckError
from .gradcheck import gradcheck as gradcheck
from .gradcheck import gradgradcheck as gradgradcheck

__all__ = [
    "Function",
    "GradcheckError",
    "Node",
    "Variable",
    "backward",
    "enable_grad",
    "function",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "inference_mode",
    "no_grad",
    "set_grad_enabled",
]
