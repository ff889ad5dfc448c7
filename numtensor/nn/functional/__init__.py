"""The functions of `nn`, one file per family; each is declared once.

Names are entered by their declarations (`room="nn.functional"`), and exported from
here. Importing a family declares it.
"""

from typing import TYPE_CHECKING, Any

from ...ops.declare import room as _room

globals().update(_room("nn.functional"))

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Functions are entered from their declarations, which no checker can see."""
