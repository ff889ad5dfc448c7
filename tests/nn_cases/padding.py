"""Padding of every mode, negative sizes among them."""

from . import Case, floats

SIZES = {1: (2, 1), 2: (1, 2, 0, 1), 3: (1, 1, 2, 0, 0, 1)}
SHAPES = {1: (2, 2, 3), 2: (2, 1, 3, 3), 3: (1, 1, 2, 3, 2)}
MODES = ("reflect", "replicate", "circular")


def pad(name, sizes, *shape, mode="constant", value=None, **marks):
    return Case(
        name,
        lambda lib, x: lib.nn.functional.pad(x, sizes, mode, value),
        floats(*shape),
        **marks,
    )


def layer(kind, dims, *args):
    return Case(
        f"{kind}{dims}d",
        floats(*SHAPES[dims]),
        module=lambda lib: getattr(lib.nn, f"{kind}{dims}d")(*args),
    )


CASES = [
    pad("zeros", (1, 2), 2, 3, smooth=True, device=True),
    pad("zeros around all", (1, 0, 2, 1), 2, 3, smooth=True),
    pad("nothing", (), 2, 3),
    pad("a value", (1, 1), 2, 3, value=2.5),
    pad("cropped", (-1, -1), 2, 4, smooth=True),
    pad("cropped and padded", (-1, 2, 1, -1), 3, 4, smooth=True, device=True),
    pad("cropped to nothing", (-2, -1, 1, 1), 2, 3),
    pad("nothing padded", (1, 1), 2, 0),
    *(
        pad(f"{mode} {dims}", SIZES[dims], *SHAPES[dims], mode=mode, smooth=dims == 1)
        for mode in MODES
        for dims in SIZES
        if mode != "reflect" or dims < 3
    ),
    pad("reflect volume", (1, 1, 2, 1, 1, 0), 1, 1, 2, 3, 2, mode="reflect"),
    pad("reflect small", (1, 1), 1, 3, mode="reflect", device=True),
    pad("replicate small", (1, 1, 0, 1), 1, 2, 2, mode="replicate", device=True),
    pad("circular small", (1, 0), 1, 3, mode="circular", device=True),
    pad("replicate far", (5, 4), 1, 3, mode="replicate"),
    pad("circular whole", (3, 3), 1, 3, mode="circular"),
    pad("replicate cropped", (-1, 2), 1, 3, mode="replicate"),
    pad("reflect cropped", (2, -1), 1, 3, mode="reflect"),
    *(layer("ConstantPad", d, SIZES[d], 3.5) for d in SIZES),
    *(layer("ZeroPad", d, 1) for d in SIZES),
    *(layer("ReflectionPad", d, 1) for d in SIZES),
    *(layer("ReplicationPad", d, SIZES[d]) for d in SIZES),
    *(layer("CircularPad", d, 1) for d in SIZES),
]
