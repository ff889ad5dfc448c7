"""What PyTorch calls things in files: dtypes, storages, and what is refused.

A dtype that tensors get later needs nothing here: its row is there already, and its
name is looked up among the dtypes there are.
"""

from __future__ import annotations

from .. import dtypes
from ..dtypes import dtype
from .faults import no_such_dtype

#: PyTorch's class of a storage -> the dtype of its elements
STORAGES = {
    "BoolStorage": "bool",
    "ByteStorage": "uint8",
    "CharStorage": "int8",
    "ShortStorage": "int16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "QInt8Storage": "qint8",
    "QUInt8Storage": "quint8",
    "QInt32Storage": "qint32",
    "QUInt4x2Storage": "quint4x2",
    "QUInt2x4Storage": "quint2x4",
}
CLASSES = {name: storage for storage, name in STORAGES.items()}

#: names of dtypes that pickles have as attributes of torch
DTYPES = frozenset(STORAGES.values()) | {
    "uint16", "uint32", "uint64", "complex32", "float8_e4m3fn", "float8_e5m2",
    "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu",
}  # fmt: skip

_ADVICE = {
    "bfloat16": "x.float()",
    "float16": "x.float()",
    "complex": "torch.view_as_real(x)",
    "float8": "x.float()",
    "q": "x.dequantize()",
    "uint": "x.to(torch.int64)",
}


def find(name: str, label: str) -> dtype:
    """Return the dtype of PyTorch's name.

    Raises: DTypeError, tensors have none of this name, with what to save instead.
    """
    for kind in dtypes.ALL:
        if kind.name == name:
            return kind
    advice = next((v for k, v in _ADVICE.items() if name.startswith(k)), "x.float()")
    raise no_such_dtype(f"torch.{name}", label, f"Save {advice} with PyTorch instead.")


#: what is often found in files that hold more than data, and what to save instead
_INSTEAD = (
    ("numpy", "Save torch.from_numpy(array), and numbers as number.item()."),
    ("torch._utils._rebuild_sparse", "Save x.to_dense()."),
    ("torch._utils._rebuild_q", "Save x.dequantize()."),
    ("torch._utils", "Save a plain tensor."),
    ("torch.storage", "Save the tensor instead of its storage."),
    ("torch.jit", "Save the state_dict() of the module."),
    ("__torch__", "Save the state_dict() of the module."),
    ("torch.nn", "Save the state_dict() of the module instead of the module."),
    ("torch.optim", "Save the state_dict() of the optimizer."),
    ("collections", "Save a dict or an OrderedDict instead."),
    ("pathlib", "Save str(path)."),
)


def instead(name: str) -> str:
    """Return what to do about a global that files must not have."""
    for prefix, advice in _INSTEAD:
        if name.startswith(prefix):
            return advice
    return "Save tensors in dicts and lists, such as a state_dict()."
