"""Named dimensions: what users call, and the rules of operators against literals.

Names and messages are those that PyTorch documented for its releases 1.3 to 2.0, and
shapes that have a name for each size, so that a name on the wrong dim shows.
"""

from __future__ import annotations

import copy
import pickle

import laws
import numpy as np
import pytest

import numtensor as nt
from numtensor.errors import DimNameError
from numtensor.names import words
from numtensor.ops.registry import TABLE

pytestmark = pytest.mark.usefixtures("device")

SIZES = {"N": 2, "C": 3, "H": 4, "W": 5, "R": 1, None: 6}


def made(*names, grad=False):
    """Return a tensor with these names, each of its own size."""
    shape = tuple(SIZES[name] for name in names)
    values = np.arange(1.0, 1 + np.prod(shape, dtype=int)).reshape(shape)
    found = laws.made(values)
    if names:
        found.rename_(*names) if names != (None,) else None
    return found.requires_grad_() if grad else found


def named_sizes(x):
    """Check that each dim with a name of `SIZES` has its size."""
    for name, size in zip(x.names, x.shape, strict=True):
        assert name is None or SIZES.get(name, size) == size, (x.names, x.shape)


# Names themselves


def test_names_of_a_new_tensor():
    x = nt.zeros(2, 3, names=("N", "C"), device=laws.DEVICE)
    assert x.names == ("N", "C") and x.has_names()
    assert isinstance(x, nt.Tensor) and type(x).__name__ == "Tensor"
    assert nt.is_tensor(x)
    assert nt.zeros(2, 3).names == (None, None) and not nt.zeros(2, 3).has_names()
    assert nt.zeros(2, 3, names=(None, None)).has_names() is False
    assert type(nt.zeros(2, 3, names=[None, None])) is nt.Tensor
    assert nt.tensor([[1, 2]], names=["N", None]).names == ("N", None)
    assert nt.tensor(1.0, names=()).names == ()


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        (("N",), "Number of names (1) and number of dimensions in tensor (2) do not"),
        (("N", "N"), "Cannot construct a tensor with duplicate names. Got names: ['N'"),
        (("N", "1C"), "Invalid name: a valid identifier contains only letters, digits"),
        (("N", ""), "Invalid name"),
        (("N", 3), "got the name 3; expected a string that is an identifier, or None"),
        ("NC", "got names 'NC'; expected a tuple or list of names, or None"),
    ],
)
def test_names_that_are_refused(names, fault):
    with pytest.raises(DimNameError) as caught:
        nt.zeros(2, 3, names=names)
    assert fault in str(caught.value)
    assert isinstance(caught.value, RuntimeError)


def test_printing():
    x = nt.tensor([[1.0, 2.0], [3.0, 4.0]], names=("N", "C"))
    assert repr(x) == "tensor([[1., 2.],\n        [3., 4.]], names=('N', 'C'))"
    assert repr(x.rename(C=None)).endswith("names=('N', None))")
    y = nt.tensor([1.0], names=("N",), requires_grad=True)
    assert repr(y) == "tensor([1.], requires_grad=True, names=('N',))"
    assert repr(y * 2) == "tensor([2.], grad_fn=<MulBackward0>, names=('N',))"


def test_rename():
    x = made("N", "C", "H")
    assert x.rename("A", None, "B").names == ("A", None, "B")
    assert x.rename("...", "B").names == ("N", "C", "B")
    assert x.rename("A", ...).names == ("A", "C", "H")
    assert x.rename(None).names == (None, None, None)
    assert x.rename(N="batch", H=None).names == ("batch", "C", None)
    assert x.names == ("N", "C", "H")
    view = x.rename(None)
    view[0] = 0
    assert x.rename(None)[0].sum().item() == 0
    assert x.rename_("A", "B", "D") is x and x.names == ("A", "B", "D")
    x.names = ["N", "C", "H"]
    assert x.names == ("N", "C", "H")
    x.names = None
    assert not x.has_names() and type(x) is nt.Tensor
    with pytest.raises(DimNameError, match="dim 'Q' does not exist"):
        made("N").rename(Q="A")
    with pytest.raises(DimNameError, match="either positional args or keyword args"):
        made("N").rename("A", N="B")
    with pytest.raises(DimNameError, match="More than one Ellipsis"):
        made("N", "C").rename("...", "A", ...)
    with pytest.raises(DimNameError, match="duplicate names"):
        made("N", "C").rename(N="C")


def test_refine_names():
    x = nt.zeros(2, 3, 4)
    assert x.refine_names(..., "H").names == (None, None, "H")
    assert x.refine_names("N", ..., "H").refine_names("N", "C", "H").names == (
        "N", "C", "H",
    )  # fmt: skip
    assert made("N", "C").refine_names("...").names == ("N", "C")
    with pytest.raises(DimNameError) as caught:
        made("N", "C").refine_names("N", "D")
    assert str(caught.value) == (
        "refine_names: got ['N', 'D'] for Tensor['N', 'C']; expected names that dims "
        "have already, or new names for unnamed dims. refine_names: cannot coerce "
        "Tensor['N', 'C'] to Tensor['N', 'D'] because 'C' is different from 'D' at "
        "index 1. Use rename to change a name."
    )
    with pytest.raises(DimNameError):
        made("N", "C").refine_names("N", None)


def test_align():
    x = made("N", "C", "H")
    assert x.align_to("H", "N", "C").shape == (4, 2, 3)
    assert x.align_to("H", ...).names == ("H", "N", "C")
    assert x.align_to("...", "N").shape == (3, 4, 2)
    found = x.align_to("H", "D", "N", "C")
    assert (found.names, tuple(found.shape)) == (("H", "D", "N", "C"), (4, 1, 2, 3))
    assert x.align_to("W", ..., "C").names == ("W", "N", "H", "C")
    assert made("N").align_as(made("C", "N")).names == ("C", "N")
    a, b = nt.align_tensors(made("N"), made("H", "N"))
    assert a.names == b.names == ("H", "N") and a.shape == (1, 2)
    assert nt.zeros(3).refine_names("C").align_to(...).names == ("C",)
    for bad, fault in [
        (lambda: x.align_to("N", "C"), "Cannot find dim 'H' from Tensor"),
        (lambda: nt.zeros(2, 3).align_to("N", "C"), "Found unnamed dim at index 0"),
        (lambda: x.align_to("N", "C", "H", "H"), "duplicate"),
        (lambda: x.align_to("N", "C", "H", None), "got the name None"),
        (lambda: x.align_to(..., "...", "H"), "More than one Ellipsis"),
    ]:
        with pytest.raises(DimNameError, match=fault):
            bad()


# Rules


@pytest.mark.parametrize(
    ("left", "right", "result"),
    [
        (("N", None), (None, "C"), ("N", "C")),
        (("N", "C"), ("C",), ("N", "C")),
        (("N", "C"), (None,), ("N", "C")),
        (("C",), (None, None, "C"), (None, None, "C")),
        ((), ("N",), ("N",)),
    ],
)
def test_unifying(left, right, result):
    assert words.unified("add", left, right) == result
    assert words.unified("add", right, left) == result


def test_operands_that_do_not_match():
    with pytest.raises(DimNameError) as caught:
        made("N", "C") + made("N")
    assert str(caught.value) == (
        "add: got dims ['N', 'C'] and dims ['N']; expected equal names, or None, at "
        "each place from the right. Error when attempting to broadcast dims ['N', 'C'] "
        "and dims ['N']: dim 'C' and dim 'N' are at the same position from the right "
        "but do not match. Broadcasting goes by position from the right: bring the "
        "dims in line with align_to or align_as, name unnamed ones with refine_names, "
        "or change names with rename."
    )
    with pytest.raises(DimNameError) as caught:
        nt.zeros(2, 2, names=("N", None)) * nt.zeros(2, names=("N",))
    assert (
        "Misaligned dims when attempting to broadcast dims ['N', None] and dims ['N']: "
        "dim 'N' appears in a different position from the right across both lists."
    ) in str(caught.value)


def test_names_are_checked_before_shapes():
    image = made("C", "H", "W")
    with pytest.raises(DimNameError):
        image[..., :3] * made("C")


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda x: x.t(), ("C", "N")),
        (lambda x: x.T, ("C", "N")),
        (lambda x: x.mT, ("C", "N")),
        (lambda x: x.exp(), ("N", "C")),
        (lambda x: 2 * x, ("N", "C")),
        (lambda x: x > 1, ("N", "C")),
        (lambda x: x.to(nt.float32), ("N", "C")),
        (lambda x: x.double(), ("N", "C")),
        (lambda x: x.contiguous(), ("N", "C")),
        (lambda x: x.detach(), ("N", "C")),
        (lambda x: x.data, ("N", "C")),
        (lambda x: x.cpu(), ("N", "C")),
        (lambda x: x.transpose("N", "C"), ("C", "N")),
        (lambda x: x.transpose(-1, "N"), ("C", "N")),
        (lambda x: x.permute("C", "N"), ("C", "N")),
        (lambda x: x.permute(1, 0), ("C", "N")),
        (lambda x: x.movedim("N", 1), ("C", "N")),
        (lambda x: x.sum(), ()),
        (lambda x: x.sum("N"), ("C",)),
        (lambda x: x.sum(["N", "C"]), ()),
        (lambda x: x.sum(("C",), keepdim=True).rename(C="R"), ("N", "R")),
        (lambda x: x.mean(-1), ("N",)),
        (lambda x: x.var("C"), ("N",)),
        (lambda x: x.argmax("N"), ("C",)),
        (lambda x: x.max("C").values, ("N",)),
        (lambda x: x.max("C").indices, ("N",)),
        (lambda x: x.max(x), ("N", "C")),
        (lambda x: nt.max(x, "C")[0], ("N",)),
        (lambda x: nt.std_mean(x, "C")[1], ("N",)),
        (lambda x: x.select("N", 0), ("C",)),
        (lambda x: x.unbind("C")[0], ("N",)),
        (lambda x: x.narrow("C", 0, 2).rename(C="D"), ("N", "D")),
        (lambda x: x.split(1, "N")[0].rename(N="D"), ("D", "C")),
        (lambda x: x.chunk(2, "N")[1].rename(N="D"), ("D", "C")),
        (lambda x: x.unsqueeze(-1), ("N", "C", None)),
        (lambda x: x.unsqueeze(0).squeeze(0), ("N", "C")),
        (lambda x: x.diagonal(), (None,)),
        (lambda x: x.expand(6, 2, 3), (None, "N", "C")),
        (lambda x: x.view(2, 3), ("N", "C")),
        (lambda x: x.view(6), (None,)),
        (lambda x: x.reshape(2, 3, 1), ("N", "C", None)),
        (lambda x: x.reshape(2, -1), ("N", "C")),
        (lambda x: x.flatten(), (None,)),
        (lambda x: nt.cat([x, x], "N").rename(N="D"), ("D", "C")),
        (lambda x: nt.cat([x, x.rename(None)], 1).rename(C="D"), ("N", "D")),
        (lambda x: nt.stack([x, x]), (None, "N", "C")),
        (lambda x: nt.stack([x, x], -1), ("N", "C", None)),
        (lambda x: nt.stack([x, x], "T"), ("T", "N", "C")),
        (lambda x: nt.where(x > 1, x, 0.0), ("N", "C")),
        (lambda x: x.clamp(min=1), ("N", "C")),
        (lambda x: nt.zeros_like(x), ("N", "C")),
        (lambda x: nt.rand_like(x), ("N", "C")),
        (lambda x: x.new_zeros(2), (None,)),
        (lambda x: x.new_zeros(2, names=["N"]), ("N",)),
        (lambda x: x.cumsum("C"), ("N", "C")),
        (lambda x: x.quantile(0.5, "C"), ("N",)),
        (lambda x: x.quantile(x[:, 0].rename(None) * 0, "N"), (None, "C")),
        (lambda x: x.sort("C").values, ("N", "C")),
        (lambda x: x.topk(2, "C").indices.rename(C="K"), ("N", "K")),
        (lambda x: x.logsumexp(["N", "C"]), ()),
        (lambda x: x.flip("N", "C"), ("N", "C")),
        (lambda x: x.softmax("C"), ("N", "C")),
        (lambda x: x.norm(dim="C"), ("N",)),
        (lambda x: nt.nn.functional.relu(x), ("N", "C")),
        (lambda x: nt.einsum("nc,c->n", x, x.rename(None)[0]), ("N",)),
        (lambda x: nt.einsum("...c,c->...", x, x[0]), ("N",)),
    ],
)
def test_rules_of_operators(call, names):
    found = call(made("N", "C"))
    assert found.names == names
    named_sizes(found)
    assert isinstance(found, nt.Tensor)


def test_rules_of_indexing():
    x = made("N", "C", "H", "W")
    rows = nt.tensor([0, 1], device=laws.DEVICE)
    for key, names in [
        (0, ("C", "H", "W")),
        (slice(1), (None, "C", "H", "W")),
        (..., ("N", "C", "H", "W")),
        ((slice(None), 0), ("N", "H", "W")),
        ((..., 0), ("N", "C", "H")),
        ((None, 0), (None, "C", "H", "W")),
        ((0, ..., None), ("C", "H", "W", None)),
        ([0, 1], ("N", "C", "H", "W")),
        (rows, ("N", "C", "H", "W")),
        ((slice(None), [0, 1]), ("N", None, "H", "W")),
        ((rows, rows), (None, "H", "W")),
        ((slice(None), rows, rows), ("N", None, "W")),
        ((rows, slice(None), rows), (None, "C", "W")),
        ((slice(None), rows.reshape(1, 2)), ("N", None, None, "H", "W")),
        ((0, slice(None), rows), ("C", None, "W")),
        (x > 5, (None,)),
        ((slice(None), x[0, :, :, 0] > 30), ("N", None, "W")),
    ]:
        found = x[key]
        # a part of a dim has its name and not its size
        whole = [
            n if n is None or SIZES[n] == s else None
            for n, s in zip(found.names, found.shape, strict=True)
        ]
        assert tuple(whole) == names, key
        plain = x.rename(None)[key]
        laws.assert_same(laws.numpy_of(found), laws.numpy_of(plain))


def test_products():
    a, b = made("N", "C"), made("C", "H")
    assert (a @ b).names == ("N", "H")
    assert (a.rename(None) @ b).names == (None, "H")
    assert a.rename(None).matmul(b).names == (None, "H")
    assert nt.mm(a, b).names == ("N", "H")
    assert (a @ made("C")).names == ("N",)
    assert (made("N") @ a).names == ("C",)
    assert (made("N") @ made("N")).names == ()
    assert (made("N", "C", "H") @ made("H", "W")).names == ("N", "C", "W")
    stack = nt.zeros(2, 4, 5, device=laws.DEVICE, dtype=nt.float64)
    assert (made("N", "C", "H") @ stack.refine_names("N", ...)).names == (
        "N", "C", None,
    )  # fmt: skip
    assert nt.outer(made("N"), made("C")).names == ("N", "C")
    assert nt.addmm(made("N", "H"), a, b).names == ("N", "H")
    with pytest.raises(DimNameError) as caught:
        a @ a.t()
    assert "would produce output tensor with duplicate names ['N', 'N']" in str(
        caught.value
    )
    with pytest.raises(DimNameError, match="Misaligned dims when batch matrix"):
        made("N", "C", "H") @ nt.zeros(4, 2, names=("H", "N"), device=laws.DEVICE)


def test_dims_by_name():
    x = made("N", "C")
    assert (x.size("C"), x.stride("N"), x.size(-1)) == (3, 3, 3)
    with pytest.raises(DimNameError) as caught:
        x.sum("Q")
    assert str(caught.value) == (
        "sum: got dim 'Q' of Tensor['N', 'C']; expected a name of the tensor. Name 'Q' "
        "not found in Tensor['N', 'C']. Check the name, or rename the dims."
    )
    with pytest.raises(DimNameError, match=r"Name 'Q' not found in Tensor\['N', 'C'\]"):
        x.select("Q", 0)
    for call in (lambda: nt.ones(2).sum("N"), lambda: nt.ones(2, 2).transpose("N", 0)):
        with pytest.raises(DimNameError, match="Name the dims first"):
            call()


def test_flatten_and_unflatten():
    x = made("N", "C", "H", "W")
    flat = x.flatten(["C", "H", "W"], "features")
    assert (flat.names, tuple(flat.shape)) == (("N", "features"), (2, 60))
    assert x.flatten("C", "H", "F").names == ("N", "F", "W")
    assert nt.flatten(x, 1, 2).names == ("N", None, "W")
    assert nt.flatten(x, ["H", "W"], "F").names == ("N", "C", "F")
    back = flat.unflatten("features", (("C", 3), ("H", 4), ("W", 5)))
    assert back.names == x.names and bool((back == x).all())
    assert flat.unflatten(1, (3, 20)).names == ("N", None, None)
    assert flat.unflatten("features", {"C": 3, "rest": -1}).shape == (2, 3, 20)
    plain = x.rename(None)
    assert plain.flatten(0, 1, "F").names == ("F", None, None)
    assert plain.unflatten(0, (("A", 1), ("B", 2))).names == (
        "A", "B", None, None, None,
    )  # fmt: skip
    with pytest.raises(DimNameError, match="must be consecutive in Tensor"):
        x.flatten(["C", "W"], "F")
    with pytest.raises(DimNameError, match="duplicate"):
        x.flatten(["C", "H"], "N")


# Changes in place


def test_in_place():
    x = made("N", "C")
    assert x.add_(made("C")) is x and x.names == ("N", "C")
    y = nt.zeros(2, 3, device=laws.DEVICE, dtype=nt.float64)
    y += x
    assert y.names == ("N", "C")
    z = nt.zeros(2, 3, device=laws.DEVICE, dtype=nt.float64)
    assert z.copy_(x).names == ("N", "C")
    with pytest.raises(DimNameError, match="do not match"):
        x.mul_(made("N", "C").rename("N", "D"))
    with pytest.raises(DimNameError, match="Misaligned"):
        made(None, "C").add_(nt.zeros(3, 1, names=("C", None)))
    assert x.zero_().names == x.fill_(2).names == x.uniform_().names == ("N", "C")
    x[0] = 5.0
    x[:, 1] = made("N")
    assert x.names == ("N", "C") and x.tolist()[0] == [5, 1, 5]
    with pytest.raises(DimNameError, match="assign to dims"):
        x[0] = made("C").rename("N")


def test_views_in_place():
    x = made("N", "C")
    assert x.transpose_("N", "C") is x and x.names == ("C", "N") and x.shape == (3, 2)
    assert x.unsqueeze_(0).names == (None, "C", "N")
    assert x.squeeze_(0).t_().names == ("N", "C") and x.shape == (2, 3)
    with pytest.raises(IndexError):
        x.transpose_(0, 5)
    assert x.names == ("N", "C")


def test_scattering_by_name():
    x = made("N", "C")
    index = nt.tensor([[0, 1]], device=laws.DEVICE)
    found = nt.scatter(x, "N", index, 0.0)
    assert found.names == ("N", "C") and found.tolist() == [[0, 2, 3], [4, 0, 6]]
    assert x.scatter_("N", index, 7.0) is x and x.names == ("N", "C")
    assert x.gather("C", index).shape == (1, 2)


def test_out():
    a = made("N", "C")
    out = nt.empty(2, 3, device=laws.DEVICE, dtype=nt.float64)
    assert nt.add(a, 1, out=out) is out and out.names == ("N", "C")
    assert nt.add(a, 2, out=out).names == ("N", "C")
    with pytest.raises(DimNameError) as caught:
        nt.add(a, 1, out=out.rename("N", None))
    assert (
        "Name mismatch: specified out tensor with names ['N', None] are not the same "
        "as the computed output names ['N', 'C']."
    ) in str(caught.value)
    square = nt.empty(2, 2, device=laws.DEVICE, dtype=nt.float64)
    nt.matmul(a, a.t().rename("C", "M"), out=square)
    assert square.names == ("N", "M")
    with pytest.raises(DimNameError, match="Name mismatch"):
        nt.matmul(a, a.t().rename("C", "K"), out=square)


# Gradients


def test_gradients_have_the_names_of_what_they_are_gradients_of():
    x = made("N", "C", grad=True)
    y = x * x
    y.retain_grad()
    seen = []
    y.register_hook(lambda g: seen.append(g.names))
    x.register_hook(lambda g: seen.append(g.names))
    y.transpose("N", "C").sum().backward()
    assert x.grad.names == y.grad.names == ("N", "C") and x.grad is x.grad
    assert seen == [("N", "C"), ("N", "C")]
    assert x.grad.tolist() == (2 * x).tolist()
    (x * 1).sum().backward()
    assert x.grad.names == ("N", "C") and x.grad.tolist() == (2 * x + 1).tolist()
    (g,) = nt.autograd.grad((x**3).sum(), x, create_graph=True)
    assert g.names == ("N", "C")
    (h,) = nt.autograd.grad(g.sum(), x)
    assert h.names == ("N", "C") and h.tolist() == (6 * x).tolist()


def test_cotangents_with_names_are_checked():
    x = made("N", "C", grad=True)
    (x * 2).backward(gradient=made("N", "C"))
    assert x.grad.tolist() == (2 * made("N", "C")).tolist()
    (x * 2).rename(None).backward(made("N", "C"))
    with pytest.raises(DimNameError, match="backward: got dims"):
        (x * 2).backward(gradient=made("N", "C").rename("N", "D"))
    with pytest.raises(DimNameError, match="grad: got dims"):
        nt.autograd.grad(x * 2, x, made("N", "C").rename("N", "D"))
    with pytest.raises(DimNameError, match="assign a gradient of"):
        x.grad = made("N", "C").rename("N", "D")
    x.grad = made("N", "C").rename(None)
    assert x.grad.names == ("N", "C")


def test_hooks_may_replace_gradients():
    x = made("N", "C", grad=True)
    x.register_hook(lambda g: g * made("C"))
    x.sum().backward()
    assert x.grad.tolist() == [[1, 2, 3], [1, 2, 3]]
    plain = laws.made(np.ones((2, 3))).requires_grad_()
    plain.register_hook(lambda g: g.rename("N", "C") * 2)
    plain.sum().backward()
    assert plain.grad.names == (None, None)
    x = made("N", grad=True)
    x.register_hook(lambda g: g.rename("Q"))
    with pytest.raises(DimNameError, match="hook"):
        x.sum().backward()


def test_changes_in_place_are_differentiated():
    x = made("N", "C", grad=True)
    y = x * 2
    y *= made("C")
    y[0] = 0.0
    y.sum().backward()
    assert y.names == ("N", "C")
    assert x.grad.tolist() == [[0, 0, 0], [2, 4, 6]]
    with pytest.raises(nt.errors.AutogradError):
        x.add_(1)
    with nt.no_grad():
        x -= 1
    assert x.names == ("N", "C") and x.is_leaf


def test_functions_written_by_hand():
    class Double(nt.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            return grad * 2 + 0 * x

    x = made("N", "C", grad=True)
    y = Double.apply(x)
    assert y.names == ("N", "C")
    y.sum().backward()
    assert x.grad.names == ("N", "C") and x.grad.tolist() == [[2] * 3] * 2


def test_gradcheck_with_names():
    def f(x):
        x = x.rename("N", "C")
        y = (x.softmax("C") if hasattr(x, "softmax") else x.exp()).t() @ x.rename(C="D")
        return (y * y.sum("D", keepdim=True).rename(None)).sum("C").rename(None)

    assert nt.autograd.gradcheck(f, (made("N", "C").rename(None).requires_grad_(),))


# What tensors go through


def test_copies_keep_names():
    x = made("N", "C", grad=True)
    for y in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x)):
        assert y.names == ("N", "C") and y.requires_grad and y.is_leaf
        assert y.tolist() == x.tolist() and y.device == x.device
    assert x.clone().names == nt.tensor(x.detach()).names == ("N", "C")
    x.sum().backward()
    assert copy.deepcopy(x).grad.names == ("N", "C")
    assert copy.copy(x.detach()).names == ("N", "C")


def test_values_come_out_without_names():
    x = made("N", "C")
    assert np.asarray(x.cpu()).shape == (2, 3) and x.cpu().numpy().ndim == 2
    assert [row.names for row in x] == [("C",), ("C",)]
    assert x[0, 0].item() == 1.0 and 6.0 in x and len(x) == 2
    assert nt.from_dlpack(x).names == (None, None)
    assert nt.Tensor(x).names == (None, None)


def test_parameters_may_have_names():
    x = nt.nn.Parameter(made("N", "C"))
    assert isinstance(x, nt.nn.Parameter) and x.names == ("N", "C") and x.requires_grad
    assert repr(x).startswith("Parameter containing:\ntensor(")
    (x * x).sum("N").sum().backward()
    assert x.grad.names == ("N", "C")
    plain = nt.nn.Parameter(laws.made(np.ones((2, 3))))
    kind = type(plain)
    plain.rename_("N", "C")
    assert isinstance(plain, nt.nn.Parameter) and plain.sum("N").names == ("C",)
    assert type(plain.rename_(None)) is kind
    for y in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x)):
        assert isinstance(y, nt.nn.Parameter) and y.names == ("N", "C")


def test_no_plan_is_kept_for_named_tensors():
    x = made("N", "C")
    (x + x, x.exp(), x.sum("N"), x.add_(1), x * 2, 2 - x)
    for declared in TABLE.values():
        plans = getattr(declared.operator, "plans", None) or {}
        for key in plans:
            for part in key if isinstance(key, tuple) else (key,):
                assert getattr(part, "names", None) is None, declared.name


def test_aliases_share_memory():
    x = made("N", "C")
    y = x.rename(None)
    y += 1
    assert x[0, 0].item() == 2.0 and y.data_ptr() == x.data_ptr()
    assert x.t().data_ptr() == x.data_ptr()
