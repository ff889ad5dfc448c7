"""Normalisation: of layers, batches, groups, instances, lengths, neighbours."""

from . import Case, floats, given
from .losses import call, module

F4 = floats(4)


def apply(name, order, *more, **keywords):
    """Make a call whose tensors are the arguments named in `order`."""

    def made(lib, *args):
        named = dict(zip(order, args, strict=True))
        x = named.pop("x")
        return getattr(lib.nn.functional, name)(x, *more, **named, **keywords)

    return made


def evaluated(net, *inputs):
    """Train on one batch, then evaluate."""
    net(*inputs)
    return net.eval()(*inputs)


SCALED = ("x", "weight", "bias")
SHAPES = {"rows": (4, 3), "sequences": (2, 3, 4), "images": (2, 3, 2, 2)}
NORMS = ("BatchNorm", "InstanceNorm")

CASES = [
    Case(
        "layer_norm", apply("layer_norm", SCALED, (4,)), floats(3, 4), F4, floats(4),
        smooth=True, device=True,
    ),
    Case(
        "layer_norm, no weights", apply("layer_norm", ("x",), (4,)), floats(2, 3, 4),
        smooth=True, device=True,
    ),
    Case(
        "layer_norm, weight alone",
        apply("layer_norm", ("x", "weight"), (3, 4), eps=0.1),
        floats(2, 3, 4), floats(3, 4), smooth=True,
    ),
    Case(
        "layer_norm, bias alone", apply("layer_norm", ("x", "bias"), [4]), floats(3, 4),
        F4, smooth=True,
    ),
    Case(
        "layer_norm of one row", apply("layer_norm", SCALED, (4,)), F4, floats(4),
        floats(4), smooth=True,
    ),
    Case(
        "layer_norm transposed",
        lambda lib, x, w: lib.nn.functional.layer_norm(x.t(), (4,), w),
        floats(4, 3), F4, smooth=True,
    ),
    Case(
        "layer_norm, fixed weights", apply("layer_norm", SCALED, (4,)), floats(3, 4),
        floats(4, grad=False), floats(4, grad=False),
    ),
    Case(
        "layer_norm, fixed input", apply("layer_norm", SCALED, (4,)),
        floats(3, 4, grad=False), F4, floats(4),
    ),
    Case(
        "layer_norm of many", apply("layer_norm", SCALED, (20,)), floats(70, 20),
        floats(20), floats(20),
    ),
    Case(
        "layer_norm of long rows", apply("layer_norm", ("x",), (2100,)), floats(1, 2100)
    ),
    Case(
        "layer_norm of nothing", apply("layer_norm", SCALED, (4,)), floats(0, 4), F4,
        floats(4),
    ),
    Case("layer_norm far from 0", apply("layer_norm", ("x",), (4,)),
         floats(3, 4, low=1e6, high=1e6 + 1), tolerance=1e-7),  # digits lost at 1e6
    Case(
        "rms_norm", apply("rms_norm", ("x", "weight"), (4,)), floats(3, 4), F4,
        smooth=True, device=True,
    ),
    Case("rms_norm, no weight", apply("rms_norm", ("x",), (3, 4), eps=0.2),
         floats(2, 3, 4), smooth=True),
    *(
        Case(
            f"batch_norm of {what}",
            lambda lib, x, w, b: lib.nn.functional.batch_norm(
                x, None, None, w, b, training=True
            ),
            floats(*shape), floats(3), floats(3), smooth=what != "images", device=True,
        )
        for what, shape in SHAPES.items()
    ),
    *(
        Case(
            f"batch_norm of {what}, no weights",
            lambda lib, x: lib.nn.functional.batch_norm(
                x, None, None, training=True, eps=0.1
            ),
            floats(*shape), smooth=what == "rows",
        )
        for what, shape in SHAPES.items()
    ),
    *(
        Case(
            f"batch_norm of {what} by statistics",
            lambda lib, x, m, v, w, b: lib.nn.functional.batch_norm(x, m, v, w, b),
            floats(*shape), floats(3, grad=False), floats(3, low=0.1, grad=False),
            floats(3), floats(3), smooth=what == "rows", device=True,
        )
        for what, shape in SHAPES.items()
    ),
    Case(
        "batch_norm, weight alone",
        lambda lib, x, w: lib.nn.functional.batch_norm(x, None, None, w, training=True),
        floats(4, 3), floats(3), smooth=True,
    ),
    Case(
        "batch_norm of many columns",
        lambda lib, x, w, b: lib.nn.functional.batch_norm(
            x, None, None, w, b, training=True
        ),
        floats(6, 150), floats(150), floats(150),
    ),
    Case(
        "batch_norm transposed",
        lambda lib, x: lib.nn.functional.batch_norm(x.t(), None, None, training=True),
        floats(3, 5), smooth=True,
    ),
    Case(
        "batch_norm moves the statistics",
        lambda lib, x, m, v: (
            lib.nn.functional.batch_norm(x, m, v, training=True, momentum=0.3), m, v
        ),
        floats(4, 3), floats(3, grad=False), floats(3, low=0.1, grad=False),
    ),
    Case(
        "batch_norm of nothing",
        lambda lib, x: lib.nn.functional.batch_norm(x, None, None, training=True),
        floats(0, 3),
    ),
    Case(
        "group_norm", apply("group_norm", SCALED, 2), floats(2, 4, 3), F4, floats(4),
        smooth=True, device=True,
    ),
    Case("group_norm of rows", apply("group_norm", ("x",), 2), floats(3, 4),
         smooth=True),
    Case("group_norm, weight alone", apply("group_norm", ("x", "weight"), 1),
         floats(2, 4, 2, 2), F4),
    Case(
        "instance_norm",
        lambda lib, x, w, b: lib.nn.functional.instance_norm(x, weight=w, bias=b),
        floats(2, 3, 4), floats(3), floats(3), smooth=True, device=True,
    ),
    Case(
        "instance_norm moves the statistics",
        lambda lib, x, m, v: (
            lib.nn.functional.instance_norm(x, m, v, momentum=0.3), m, v
        ),
        floats(2, 3, 4), floats(3, grad=False), floats(3, low=0.1, grad=False),
    ),
    Case(
        "instance_norm by statistics",
        lambda lib, x, m, v: lib.nn.functional.instance_norm(
            x, m, v, use_input_stats=False
        ),
        floats(2, 3, 4), floats(3, grad=False), floats(3, low=0.1, grad=False),
    ),
    Case("normalize", call("normalize"), floats(3, 4), smooth=True, device=True),
    Case("normalize along 0", call("normalize", p=1.0, dim=0), floats(3, 4)),
    Case("normalize by cubes", call("normalize", p=3, dim=-1), floats(2, 3, 4)),
    Case("normalize zeros", call("normalize"), given([[0.0, 0.0], [3.0, 4.0]])),
    *(
        Case(
            f"local_response_norm of {size}",
            call("local_response_norm", size=size, alpha=0.4, beta=0.6, k=0.7),
            floats(2, 5, 3), smooth=size == 3, device=size == 3,
        )
        for size in (1, 2, 3, 4)
    ),
    Case(
        "LayerNorm", floats(3, 4), module=lambda lib: lib.nn.LayerNorm(4), smooth=True
    ),
    Case("LayerNorm of two dims", floats(2, 3, 4),
         module=lambda lib: lib.nn.LayerNorm([3, 4], bias=False)),
    Case("LayerNorm, no weights", floats(3, 4),
         module=module("LayerNorm", (4,), elementwise_affine=False)),
    Case("RMSNorm", floats(3, 4), module=module("RMSNorm", 4)),
    Case("GroupNorm", floats(2, 4, 3), module=module("GroupNorm", 2, 4), smooth=True),
    Case("GroupNorm, no weights", floats(2, 4, 3),
         module=module("GroupNorm", 4, 4, affine=False)),
    Case("LocalResponseNorm", floats(2, 5, 3), module=module("LocalResponseNorm", 2)),
    *(
        Case(
            f"{name}{rank}d {what}", call, floats(2, 3, *(2,) * rank),
            module=module(f"{name}{rank}d", 3, **keywords),
        )
        for name in NORMS
        for rank in (1, 2, 3)
        for what, keywords in (
            ("plain", {}),
            ("tracked", {"affine": True, "track_running_stats": True}),
            ("untracked", {"affine": False, "track_running_stats": False}),
        )
        for call in (lambda net, x: net(x),)
    ),
    *(
        Case(
            f"{name}1d {what}, evaluated", evaluated, floats(4, 3, 2),
            module=module(f"{name}1d", 3, **keywords),
        )
        for name in NORMS
        for what, keywords in (
            ("tracked", {"affine": True, "track_running_stats": True}),
            ("untracked", {"affine": False, "track_running_stats": False}),
            ("quick", {"momentum": 0.7, "track_running_stats": True}),
        )
    ),
    Case("BatchNorm1d of rows", floats(4, 3), module=module("BatchNorm1d", 3)),
    Case(
        "BatchNorm1d of three batches", lambda net, x: (net(x), net(x * 2), net(x + 1)),
        floats(4, 3), module=module("BatchNorm1d", 3, momentum=None),
    ),
    Case("InstanceNorm1d of one", floats(3, 4), module=module("InstanceNorm1d", 3)),
]  # fmt: skip
