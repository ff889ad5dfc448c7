"""Names of dimensions: what they are, how operators pass them on, what users call."""

from .tensors import NamedTensor as NamedTensor
from .tensors import bare as bare
from .tensors import named as named
from .tensors import renamed as renamed
