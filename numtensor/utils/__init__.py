"""What programs need beside tensors: `utils.data`."""

from . import data as data
