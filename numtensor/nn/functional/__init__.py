"""The functions of `nn`, one file per family; each is declared once.

Names are entered by their declarations (`room="nn.functional"`), and exported from
here. Importing a family declares it.
"""

from typing import TYPE_CHECKING, Any

from ...ops.declare import room as _room
from ...ops.registry import PUBLIC as _PUBLIC
from . import activations as activations
from . import class_losses as class_losses
from . import conv as conv
from . import dense as dense
from . import divergences as divergences
from . import dropout as dropout
from . import folding as folding
from . import losses as losses
from . import margin_losses as margin_losses
from . import normalization as normalization
from . import padding as padding
from . import pooling as pooling
from . import softmax_family as softmax_family
from . import upsampling as upsampling
from . import vector_losses as vector_losses

#: operators of the package that PyTorch has here too
_SHARED = (
    "sigmoid", "tanh", "relu", "relu_", "relu6", "selu", "celu", "prelu", "softmax",
    "log_softmax", "softplus", "hardshrink", "threshold", "one_hot", "pixel_shuffle",
)  # fmt: skip

globals().update({name: _PUBLIC[name] for name in _SHARED if name in _PUBLIC})
globals().update(_room("nn.functional"))  # after the files, one of which is `dropout`

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Functions are entered from their declarations, which no checker can see."""
