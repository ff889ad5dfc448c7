"""Networks of several modules, and modules that are used twice."""

from collections import OrderedDict

from . import Case, floats


def two_layers(lib):
    nn = lib.nn
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


def named(lib):
    nn = lib.nn
    return nn.Sequential(
        OrderedDict(
            [
                ("hidden_linear", nn.Linear(1, 3)),
                ("hidden_activation", nn.Tanh()),
                ("output_linear", nn.Linear(3, 1)),
            ]
        )
    )


def shared(lib):
    layer = lib.nn.Linear(2, 2)
    return lib.nn.Sequential(layer, lib.nn.Sigmoid(), layer)


def nested(lib):
    nn = lib.nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
            self.named = nn.ModuleDict({"a": nn.Linear(2, 1), "b": nn.Identity()})
            self.scales = nn.ParameterList([lib.ones(2), lib.ones(2)])
            self.more = nn.ParameterDict({"shift": lib.ones(1)})
            self.register_buffer("step", lib.ones(1))

        def forward(self, x):
            for part, scale in zip(self.parts, self.scales, strict=False):
                x = part(x).sin() * scale
            self.step += 1
            return self.named["a"](x) + self.more["shift"], x

    return Net()


CASES = [
    Case("Sequential", floats(2, 3), module=two_layers, smooth=True, device=True),
    Case("Sequential by names", floats(4, 1), module=named),
    Case("one layer twice", floats(2, 2), module=shared, smooth=True),
    Case("a network of lists", floats(2, 2), module=nested),
    Case("slices", lambda m, x: m[1:](m[:1](x)), floats(2, 3), module=two_layers),
]
