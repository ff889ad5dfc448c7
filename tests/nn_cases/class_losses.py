"""Losses over classes and of whole vectors, and softmax."""

import numpy as np

from . import Case, floats, given, integers
from .losses import REDUCTIONS, call, each, module

CLASSES = given([2, 0, 3])
IGNORED = given([2, -100, 3])
WEIGHT = floats(4, low=0.2, grad=False)
SHARES = given(np.array([[0.1, 0.2, 0.3, 0.4], [1, 0, 0, 0], [0.5, 0.5, 0, 0]]))
SCORES = floats(3, 4)
IMAGES = floats(2, 3, 2, 2)
PIXELS = integers(3, 2, 2, 2)


def with_weight(name, **keywords):
    return lambda lib, *args: getattr(lib.nn.functional, name)(
        *args[:-1], weight=args[-1], **keywords
    )


def of_classes(name):
    """Make the cases that both nll_loss and cross_entropy have."""
    return [
        *each(name, SCORES, CLASSES),
        *each(f"{name}", IMAGES, PIXELS, ignore_index=1),
        *(
            Case(
                f"{name} weighted {reduction}", with_weight(name, reduction=reduction),
                SCORES, IGNORED, WEIGHT, smooth=True, device=True,
            )
            for reduction in REDUCTIONS
        ),
        Case(
            f"{name} weighted images", with_weight(name, ignore_index=2), IMAGES,
            PIXELS, floats(3, low=0.2, grad=False), smooth=True, device=True,
        ),
        Case(f"{name} of one", call(name), floats(4), given(2), smooth=True),
        Case(
            f"{name} of one, none", call(name, reduction="none"), floats(4), given(2),
            smooth=True,
        ),
        Case(f"{name} of three dims", call(name), floats(2, 3, 2), integers(3, 2, 2)),
        Case(f"{name} all ignored", call(name), SCORES, given([-100, -100, -100])),
        Case(
            f"{name} all ignored, sum", call(name, reduction="sum"), SCORES,
            given([-100, -100, -100]),
        ),
        Case(
            f"{name} transposed",
            lambda lib, x, t: getattr(lib.nn.functional, name)(x.t(), t),
            floats(4, 3), CLASSES, smooth=True,
        ),
        Case(
            f"{name} scaled",
            lambda lib, x, t: getattr(lib.nn.functional, name)(x * 2, t) * 3,
            SCORES, CLASSES,
        ),
        Case(f"{name} of many", call(name), floats(40, 20), integers(20, 40)),
        Case(f"{name} of long rows", call(name), floats(1, 2100), given([2099])),
        Case(
            f"{name} of bytes", call(name), SCORES,
            given(np.array([2, 0, 3], np.uint8)),
        ),
    ]  # fmt: skip


CASES = [
    *of_classes("nll_loss"),
    *of_classes("cross_entropy"),
    *each("cross_entropy", SCORES, CLASSES, label_smoothing=0.2),
    *each("cross_entropy", IMAGES, PIXELS, label_smoothing=0.5, ignore_index=0),
    *(
        Case(
            f"cross_entropy smooth, weighted {reduction}",
            with_weight("cross_entropy", reduction=reduction, label_smoothing=0.3),
            SCORES, IGNORED, WEIGHT, smooth=True, device=True,
        )
        for reduction in REDUCTIONS
    ),
    *(
        Case(
            f"cross_entropy of probabilities {reduction}",
            call("cross_entropy", reduction=reduction), SCORES, SHARES, smooth=True,
            device=True,
        )
        for reduction in REDUCTIONS
    ),
    Case(
        "cross_entropy of probabilities, weighted",
        with_weight("cross_entropy", label_smoothing=0.1), SCORES, SHARES, WEIGHT,
        smooth=True,
    ),
    Case(
        "cross_entropy of one distribution", call("cross_entropy"), floats(4),
        given([0.1, 0.2, 0.3, 0.4], grad=True), smooth=True,
    ),
    Case(
        "cross_entropy of images of probabilities", call("cross_entropy"), IMAGES,
        floats(2, 3, 2, 2, low=0.0, high=1.0),
    ),
    Case(
        "cross_entropy of extremes", call("cross_entropy"),
        given([[1e4, 0.0, -1e4], [-1e4, -1e4, -1e4], [0.0, 500.0, 499.0]], grad=True),
        given([0, 1, 2]),
    ),
    *each("multi_margin_loss", SCORES, CLASSES),
    *each("multi_margin_loss", SCORES, CLASSES, p=2, margin=0.4, device=False),
    Case(
        "multi_margin_loss weighted", with_weight("multi_margin_loss"), SCORES, CLASSES,
        WEIGHT, smooth=True,
    ),
    Case("multi_margin_loss of one", call("multi_margin_loss"), floats(4), given(1)),
    *each("multilabel_margin_loss", SCORES, given(
        [[1, 2, -1, 0], [-1, 0, 0, 0], [3, 0, 1, 2]])),
    Case(
        "multilabel_margin_loss of one", call("multilabel_margin_loss"), floats(4),
        given([1, 3, -1, -1]),
    ),
    *each(
        "cosine_embedding_loss", floats(3, 4), floats(3, 4), given([1.0, -1.0, 1.0]),
        margin=0.1,
    ),
    Case(
        "cosine_embedding_loss of one", call("cosine_embedding_loss"), floats(4),
        floats(4), given(-1.0),
    ),
    *each("triplet_margin_loss", floats(3, 4), floats(3, 4), floats(3, 4)),
    *each(
        "triplet_margin_loss", floats(3, 4), floats(3, 4), floats(3, 4), swap=True, p=3,
        margin=5.0, device=False,
    ),
    Case(
        "triplet_margin_with_distance_loss",
        lambda lib, a, b, c: lib.nn.functional.triplet_margin_with_distance_loss(
            a, b, c, distance_function=lambda x, y: (x - y).abs().sum(-1), margin=4.0
        ),
        floats(3, 4), floats(3, 4), floats(3, 4),
    ),
    *(
        Case(
            f"{name} along {dim} of {len(shape)} dims",
            lambda lib, x, name=name, dim=dim: getattr(lib, name)(x, dim),
            floats(*shape), smooth=len(shape) < 3, device=True,
        )
        for name in ("softmax", "log_softmax", "logsumexp")
        for shape, dim in (
            ((), 0), ((4,), -1), ((2, 3), 0), ((2, 3), 1), ((2, 3, 2), 1),
        )
    ),
    *(
        Case(
            f"{name} transposed",
            lambda lib, x, name=name: getattr(lib, name)(x.t(), 1), floats(3, 4),
        )
        for name in ("softmax", "log_softmax", "logsumexp")
    ),
    *(
        Case(
            f"{name} of infinities",
            lambda lib, x, name=name: getattr(lib, name)(x, 1),
            given([[0.0, -np.inf, 1.0], [np.inf, 0.0, 1.0], [-np.inf] * 3,
                   [np.nan, 0.0, 1.0]]),
        )
        for name in ("softmax", "log_softmax", "logsumexp")
    ),
    Case(
        "logsumexp over two dims", lambda lib, x: lib.logsumexp(x, (0, 2)),
        floats(2, 3, 2), smooth=True, device=True,
    ),
    Case(
        "logsumexp kept", lambda lib, x: lib.logsumexp(x, (-1, 0), keepdim=True),
        floats(2, 3, 2),
    ),
    Case("softmin", call("softmin", dim=1), floats(2, 3), smooth=True),
    Case(
        "softmax in float32",
        lambda lib, x: lib.nn.functional.softmax(x, 1, dtype=lib.float32),
        floats(2, 3), tolerance=1e-6,  # float32
    ),
    *(
        Case(f"NLLLoss of {reduction}", SCORES, CLASSES,
             module=module("NLLLoss", reduction=reduction))
        for reduction in REDUCTIONS
    ),
    Case(
        "NLLLoss weighted", floats(2, 2), given([0, 1]),
        module=lambda lib: lib.nn.NLLLoss(lib.tensor([0.3, 2.0]), ignore_index=5),
    ),
    Case("CrossEntropyLoss", SCORES, CLASSES, module=module("CrossEntropyLoss")),
    Case(
        "CrossEntropyLoss, smoothed", IMAGES, PIXELS,
        module=module("CrossEntropyLoss", label_smoothing=0.1, ignore_index=1),
    ),
    Case("MultiMarginLoss", SCORES, CLASSES, module=module("MultiMarginLoss", p=2)),
    Case(
        "MultiLabelMarginLoss", SCORES,
        given([[1, 2, -1, 0], [0, -1, 0, 0], [3, 0, 1, 2]]),
        module=module("MultiLabelMarginLoss"),
    ),
    Case(
        "CosineEmbeddingLoss", floats(2, 3), floats(2, 3), given([1.0, -1.0]),
        module=module("CosineEmbeddingLoss", margin=0.2),
    ),
    Case(
        "TripletMarginLoss", floats(2, 3), floats(2, 3), floats(2, 3),
        module=module("TripletMarginLoss", margin=2.0, swap=True),
    ),
    Case(
        "TripletMarginWithDistanceLoss", floats(2, 3), floats(2, 3), floats(2, 3),
        module=module("TripletMarginWithDistanceLoss"),
    ),
    Case("Softmax", SCORES, module=module("Softmax", dim=1)),
    Case("Softmin", SCORES, module=module("Softmin", dim=0)),
    Case("LogSoftmax", SCORES, module=module("LogSoftmax", dim=-1)),
    Case("Softmax2d", IMAGES, module=module("Softmax2d")),
]  # fmt: skip
