"""Losses: every reduction, weights, their other arguments, and the modules."""

import warnings

from . import Case, floats, given

REDUCTIONS = ("mean", "sum", "none")
SIGNS = given([[1.0, -1.0, -1.0, 1.0], [-1.0, 1.0, 1.0, -1.0]])
POSITIVE = floats(2, 4, low=0.1, high=3.0)
SHARES = floats(2, 4, low=0.05, high=0.95)
COUNTS = given([[0.0, 1.0, 2.0, 5.0], [3.0, 1.0, 0.0, 7.0]])


def call(name, **keywords):
    return lambda lib, *args: getattr(lib.nn.functional, name)(*args, **keywords)


def quiet(lib, *args, **keywords):
    """Call kl_div without its warning of what a mean is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return lib.nn.functional.kl_div(*args, **keywords)


def weighted(name, **keywords):
    """Make a call whose last argument is the weight."""
    return lambda lib, *args: getattr(lib.nn.functional, name)(
        *args[:-1], weight=args[-1], **keywords
    )


def module(name, *numbers, **keywords):
    return lambda lib: getattr(lib.nn, name)(*numbers, **keywords)


def each(name, *inputs, device=True, smooth=True, **keywords):
    """Make a case of each reduction."""
    return [
        Case(
            f"{name} {reduction}{''.join(f', {k}={v}' for k, v in keywords.items())}",
            call(name, reduction=reduction, **keywords), *inputs,
            smooth=smooth, device=device and reduction == "mean",
        )
        for reduction in REDUCTIONS
    ]  # fmt: skip


def each_weighted(name, *inputs, **keywords):
    return [
        Case(
            f"{name} weighted {reduction}", weighted(name, reduction=reduction),
            *inputs, smooth=True, device=reduction == "mean", **keywords,
        )
        for reduction in REDUCTIONS
    ]  # fmt: skip


PAIR = (floats(2, 4), floats(2, 4))

CASES = [
    *each("mse_loss", *PAIR),
    *each("l1_loss", *PAIR),
    *each("smooth_l1_loss", *PAIR),
    *each("smooth_l1_loss", *PAIR, beta=0.3, device=False),
    *each("smooth_l1_loss", *PAIR, beta=0, device=False),
    *each("huber_loss", *PAIR),
    *each("huber_loss", *PAIR, delta=0.4, device=False),
    *each_weighted("mse_loss", *PAIR, POSITIVE),
    *each_weighted("l1_loss", *PAIR, POSITIVE),
    *each_weighted("huber_loss", *PAIR, POSITIVE),
    Case(
        "mse_loss of numbers", call("mse_loss"), floats(), floats(), smooth=True,
        device=True,
    ),
    Case(
        "mse_loss transposed", lambda lib, x, y: lib.nn.functional.mse_loss(x.t(), y),
        floats(4, 3), floats(3, 4),
    ),
    Case("mse_loss long", call("mse_loss"), floats(1100), floats(1100)),
    *each("binary_cross_entropy", SHARES, SHARES),
    *each_weighted("binary_cross_entropy", SHARES, SHARES, floats(4, grad=False)),
    *each("binary_cross_entropy_with_logits", floats(2, 4), SHARES),
    *each_weighted(
        "binary_cross_entropy_with_logits", floats(2, 4), SHARES,
        floats(2, 4, grad=False),
    ),
    Case(
        "logits and pos_weight",
        lambda lib, x, y, p: lib.nn.functional.binary_cross_entropy_with_logits(
            x, y, pos_weight=p
        ),
        floats(2, 4), SHARES, floats(2, 4, low=0.1, grad=False), smooth=True,
        device=True,
    ),
    Case(
        "logits, pos_weight and weight",
        lambda lib, x, y, p, w: lib.nn.functional.binary_cross_entropy_with_logits(
            x, y, w, pos_weight=p, reduction="sum"
        ),
        floats(2, 4), SHARES, floats(4, low=0.1, grad=False), floats(4, grad=False),
        smooth=True,
    ),
    Case(
        "extreme logits", call("binary_cross_entropy_with_logits"),
        given([-1000.0, 1000.0, 40.0, -40.0], grad=True), given([1.0, 1.0, 0.0, 0.0]),
    ),
    Case(
        "certain probabilities", call("binary_cross_entropy", reduction="none"),
        given([0.0, 1.0, 0.0, 1.0]), given([0.0, 0.0, 1.0, 1.0]),
    ),
    *(
        Case(
            f"kl_div {reduction}",
            lambda lib, x, y, r=reduction: quiet(lib, x, y, reduction=r),
            floats(2, 4), SHARES, smooth=True, device=True,
        )
        for reduction in REDUCTIONS
    ),
    *(
        Case(
            f"kl_div of logarithms {reduction}",
            lambda lib, x, y, r=reduction: quiet(
                lib, x, y, reduction=r, log_target=True
            ),
            floats(2, 4), floats(2, 4), smooth=True, device=True,
        )
        for reduction in REDUCTIONS
    ),
    Case(
        "kl_div batchmean", call("kl_div", reduction="batchmean"), floats(2, 4), SHARES,
        smooth=True,
    ),
    Case("kl_div of nothing", call("kl_div", reduction="sum"), floats(3),
         given([0.0, 0.5, 0.5])),
    *each("poisson_nll_loss", floats(2, 4), COUNTS),
    *each("poisson_nll_loss", floats(2, 4), floats(2, 4, low=1.5, high=5), full=True),
    *each("poisson_nll_loss", POSITIVE, COUNTS, log_input=False),
    *each("poisson_nll_loss", POSITIVE, COUNTS, log_input=False, full=True, eps=0.1),
    *each("gaussian_nll_loss", floats(2, 4), floats(2, 4), POSITIVE),
    *each("gaussian_nll_loss", floats(2, 4), floats(2, 4), POSITIVE, full=True),
    *each(
        "gaussian_nll_loss", floats(2, 4), floats(2, 4), floats(2, low=0.1), eps=1e-5
    ),
    Case(
        "gaussian_nll_loss, var below eps", call("gaussian_nll_loss", eps=0.5),
        floats(2, 4), floats(2, 4), SHARES,
    ),
    Case(
        "gaussian_nll_loss of one var",
        lambda lib, x, y: lib.nn.functional.gaussian_nll_loss(x, y, 0.7),
        floats(2, 4), floats(2, 4), smooth=True,
    ),
    *each("soft_margin_loss", floats(2, 4), SIGNS),
    *each("hinge_embedding_loss", floats(2, 4), SIGNS),
    *each("hinge_embedding_loss", floats(2, 4), SIGNS, margin=0.4, device=False),
    *each("margin_ranking_loss", floats(2, 4), floats(2, 4), SIGNS),
    *each("margin_ranking_loss", floats(2, 4), floats(2, 4), SIGNS, margin=0.5),
    *each("multilabel_soft_margin_loss", floats(2, 4), SHARES),
    *each_weighted("multilabel_soft_margin_loss", floats(2, 4), SHARES, floats(4)),
    *(
        Case(f"{name} of {reduction}", *PAIR, module=module(name, reduction=reduction))
        for name in ("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss")
        for reduction in REDUCTIONS
    ),
    Case("SmoothL1Loss of 0.3", *PAIR, module=module("SmoothL1Loss", beta=0.3)),
    Case("HuberLoss of 0.3", *PAIR, module=module("HuberLoss", delta=0.3)),
    Case("BCELoss", SHARES, SHARES, module=module("BCELoss")),
    Case(
        "BCEWithLogitsLoss", floats(2, 4), SHARES, module=module("BCEWithLogitsLoss")
    ),
    Case(
        "BCEWithLogitsLoss, weighted", floats(2, 2), floats(2, 2, low=0.1, high=0.9),
        module=lambda lib: lib.nn.BCEWithLogitsLoss(
            weight=lib.tensor([0.5, 2.0]), pos_weight=lib.tensor([3.0, 1.0])
        ),
    ),
    Case(
        "KLDivLoss", floats(2, 4), SHARES,
        module=module("KLDivLoss", reduction="batchmean"),
    ),
    Case("PoissonNLLLoss", floats(2, 4), COUNTS, module=module("PoissonNLLLoss")),
    Case(
        "GaussianNLLLoss", floats(2, 4), floats(2, 4), POSITIVE,
        module=module("GaussianNLLLoss", full=True),
    ),
    Case("SoftMarginLoss", floats(2, 4), SIGNS, module=module("SoftMarginLoss")),
    Case(
        "HingeEmbeddingLoss", floats(2, 4), SIGNS,
        module=module("HingeEmbeddingLoss", 0.5),
    ),
    Case(
        "MarginRankingLoss", floats(2, 4), floats(2, 4), SIGNS,
        module=module("MarginRankingLoss", 0.5),
    ),
    Case(
        "MultiLabelSoftMarginLoss", floats(2, 4), SHARES,
        module=module("MultiLabelSoftMarginLoss"),
    ),
]  # fmt: skip
