"""Activations: functions with and without arguments, in place, kinks, modules."""

import numpy as np

from . import Case, floats, given

#: away from every kink of the functions below
POINTS = np.array([[-9.3, -2.7, -0.7, -0.2], [0.1, 0.4, 2.2, 7.1]])
#: kinks and large numbers, where no second derivative is taken
CORNERS = np.array([-1e3, -30.0, -6.0, -3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 6.0, 30.0])


def call(name, *numbers, **keywords):
    return lambda lib, x: getattr(lib.nn.functional, name)(x, *numbers, **keywords)


def module(name, *numbers, **keywords):
    return lambda lib: getattr(lib.nn, name)(*numbers, **keywords)


PLAIN = (
    "relu", "relu6", "elu", "selu", "celu", "gelu", "silu", "mish", "hardtanh",
    "hardsigmoid", "hardswish", "hardshrink", "softshrink", "tanhshrink", "softplus",
    "softsign", "leaky_relu", "rrelu", "logsigmoid", "sigmoid", "tanh",
)  # fmt: skip
NUMBERS = {
    "elu": (0.5,),
    "celu": (0.5,),
    "hardtanh": (-0.5, 3.0),
    "hardshrink": (1.0,),
    "softshrink": (0.25,),
    "softplus": (2.0, 10.0),
    "leaky_relu": (0.3,),
    "rrelu": (0.2, 0.4),
    "threshold": (0.3, 20.0),
}
IN_PLACE = (
    "relu", "relu6", "elu", "selu", "celu", "silu", "mish", "hardtanh", "hardsigmoid",
    "hardswish", "leaky_relu", "rrelu",
)  # fmt: skip
UNDERSCORED = ("relu_", "elu_", "selu_", "celu_", "hardtanh_", "leaky_relu_", "rrelu_")


def tolerance(name):
    # PyTorch's slope of hardsigmoid is 1/6 rounded to float32
    return 1e-7 if name.lower() == "hardsigmoid" else 1e-10


CASES = [
    *(
        Case(
            name, call(name), given(POINTS, grad=True), smooth=True, device=True,
            tolerance=tolerance(name),
        )
        for name in PLAIN
    ),
    *(
        Case(
            f"{name} at corners", call(name), given(CORNERS, grad=True),
            tolerance=tolerance(name),
        )
        for name in PLAIN
    ),
    *(
        Case(
            f"{name} with numbers", call(name, *numbers), given(POINTS, grad=True),
            smooth=True, device=True,
        )
        for name, numbers in NUMBERS.items()
    ),
    Case(
        "gelu by tanh", call("gelu", approximate="tanh"), given(POINTS, grad=True),
        smooth=True, device=True,
    ),
    *(
        Case(
            f"{name} in place",
            lambda lib, x, name=name: getattr(lib.nn.functional, name)(
                x * 1.5, inplace=True
            ),
            given(POINTS, grad=True), tolerance=tolerance(name),
        )
        for name in IN_PLACE
    ),
    *(
        Case(
            name,
            lambda lib, x, name=name: getattr(lib.nn.functional, name)(x * 1.5),
            given(POINTS, grad=True),
        )
        for name in UNDERSCORED
    ),
    Case(
        "threshold_",
        lambda lib, x: lib.nn.functional.threshold_(x * 1.5, 0.3, 2.0),
        given(POINTS, grad=True),
    ),
    Case(
        "prelu", lambda lib, x, w: lib.nn.functional.prelu(x, w),
        floats(2, 3, 2), floats(3), smooth=True, device=True,
    ),
    Case(
        "prelu of one weight", lambda lib, x, w: lib.nn.functional.prelu(x, w),
        floats(4), floats(1), smooth=True,
    ),
    Case(
        "prelu of a vector batch", lambda lib, x, w: lib.prelu(x, w),
        floats(2, 3), floats(3), smooth=True,
    ),
    Case("glu", call("glu"), floats(3, 4), smooth=True, device=True),
    Case("glu along 0", call("glu", 0), floats(4, 3), smooth=True),
    *(
        Case(
            f"{name} outside functional",
            lambda lib, x, name=name: getattr(lib, name)(x),
            given(POINTS, grad=True),
        )
        for name in ("relu", "selu", "celu", "hardshrink")
    ),
    *(
        Case(
            name, given(POINTS, grad=True), module=module(name),
            tolerance=tolerance(name),
        )
        for name in (
            "ReLU", "ReLU6", "ELU", "SELU", "CELU", "GELU", "SiLU", "Mish", "Hardtanh",
            "Hardsigmoid", "Hardswish", "Hardshrink", "Softshrink", "Tanhshrink",
            "Softplus", "Softsign", "LeakyReLU", "LogSigmoid", "Sigmoid", "Tanh", "GLU",
            "PReLU",
        )
    ),
    *(
        Case(
            f"{name} in place", lambda net, x: net(x * 1.5), given(POINTS, grad=True),
            module=module(name, inplace=True), tolerance=tolerance(name),
        )
        for name in (
            "ReLU", "ReLU6", "ELU", "SELU", "CELU", "SiLU", "Mish", "Hardtanh",
            "Hardsigmoid", "Hardswish", "LeakyReLU",
        )
    ),
    Case("ELU of 2", floats(3, 2), module=module("ELU", 2)),
    Case("GELU tanh", floats(3, 2), module=module("GELU", "tanh")),
    Case("Hardtanh wide", floats(3, 2), module=module("Hardtanh", -2, 2.5)),
    Case("Threshold", floats(3, 2), module=module("Threshold", 0.1, 20)),
    Case("Softplus of 2", floats(3, 2), module=module("Softplus", 2, 1.5)),
    Case("LeakyReLU of 0.2", floats(3, 2), module=module("LeakyReLU", 0.2)),
    Case("Softshrink of 1", floats(3, 2), module=module("Softshrink", 1.0)),
    Case("GLU along 0", floats(2, 3), module=module("GLU", 0)),
    Case("PReLU of channels", floats(2, 3, 2), module=module("PReLU", 3)),
    Case(
        "RReLU evaluated", lambda net, x: net.eval()(x), floats(3, 2),
        module=module("RReLU"),
    ),
]  # fmt: skip
