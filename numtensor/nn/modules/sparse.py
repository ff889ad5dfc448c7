"""Tables of vectors looked up by index."""

from __future__ import annotations

from typing import Any

from ...errors import message
from ...factories import empty
from ...modes import no_grad
from ...tensor import Tensor
from .. import functional as F
from .. import init
from ..functional.dense import check_table
from ..parameter import Parameter
from .module import Module


class Embedding(Module):
    """A table of `num_embeddings` vectors, looked up by index.

    The vectors start normal with mean 0 and standard deviation 1; the one at
    `padding_idx` starts as zeros and gets no gradient. See `functional.embedding` for
    the other arguments.

    Shapes: (*) of integers -> (*, embedding_dim).

    >>> import numtensor as nt
    >>> table = nt.nn.Embedding(10, 3)
    >>> table(nt.tensor([[1, 2], [4, 5]])).shape
    torch.Size([2, 2, 3])
    """

    weight: Tensor

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        check_table("Embedding", num_embeddings, padding_idx, sparse)
        if padding_idx is not None:
            padding_idx %= num_embeddings
        self.padding_idx = padding_idx
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.sparse = sparse
        if _weight is None:
            made = empty(num_embeddings, embedding_dim, device=device, dtype=dtype)
            self.weight = Parameter(made, requires_grad=not _freeze)
            self.reset_parameters()
        else:
            if tuple(_weight.shape) != (num_embeddings, embedding_dim):
                raise AssertionError(
                    message(
                        "Embedding",
                        f"a weight {tuple(_weight.shape)}",
                        f"{(num_embeddings, embedding_dim)}",
                        "Shape of weight does not match num_embeddings and "
                        "embedding_dim.",
                    )
                )
            self.weight = Parameter(_weight, requires_grad=not _freeze)

    def reset_parameters(self) -> None:
        """Draw the table anew."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx].fill_(0)

    def forward(self, input: Tensor) -> Tensor:
        return F.embedding(
            input,
            self.weight,
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.sparse,
        )

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        if self.padding_idx is not None:
            text += f", padding_idx={self.padding_idx}"
        if self.max_norm is not None:
            text += f", max_norm={self.max_norm}"
        if self.norm_type != 2:
            text += f", norm_type={self.norm_type}"
        if self.scale_grad_by_freq:
            text += f", scale_grad_by_freq={self.scale_grad_by_freq}"
        return text

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """Return an Embedding over a given table, which is not trained if `freeze`.

        Raises: AssertionError, a table that is not 2-d.
        """
        if embeddings.ndim != 2:
            raise AssertionError(
                message(
                    "from_pretrained",
                    f"a {embeddings.ndim}-d tensor",
                    "(num_embeddings, embedding_dim)",
                    "Embeddings parameter is expected to be 2-dimensional.",
                )
            )
        rows, size = embeddings.shape
        return cls(
            rows,
            size,
            padding_idx,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            sparse,
            _weight=embeddings,
            _freeze=freeze,
        )
