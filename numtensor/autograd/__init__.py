"""Automatic differentiation: gradients on demand, functions with their own way back,
and the check of gradients against finite differences."""

from ..tape import Node as Node
from ..tape import enable_grad as enable_grad
from ..tape import no_grad as no_grad
from ..tape import set_grad_enabled as set_grad_enabled
