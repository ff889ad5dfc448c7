"""Convolution, pooling, windows as columns, images of other sizes."""

from . import Case, distinct, floats


def _f(name, *args, **keywords):
    """Return a call of a function with what comes after its tensors."""

    def call(lib, *tensors):
        return getattr(lib.nn.functional, name)(*tensors, *args, **keywords)

    return call


CASES = [
    Case(
        "conv1d", _f("conv1d"), floats(2, 3, 7), floats(4, 3, 3), floats(4),
        smooth=True, device=True,
    ),
    Case(
        "conv1d of one row", _f("conv1d", stride=2, padding=2, dilation=2),
        floats(3, 7), floats(4, 3, 3), floats(4), smooth=True,
    ),
    Case(
        "conv1d of long rows", _f("conv1d", padding="same"),
        floats(2, 2, 40), floats(3, 2, 5), floats(3),
    ),
    Case(
        "conv2d", _f("conv2d", padding=1),
        floats(2, 2, 4, 5), floats(3, 2, 3, 3), floats(3), smooth=True, device=True,
    ),
    Case(
        "conv2d with all parameters",
        _f("conv2d", stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2),
        floats(2, 4, 5, 6), floats(6, 2, 2, 3), floats(6),
    ),
    Case(
        "conv2d of wide images", _f("conv2d", padding=1),
        floats(3, 3, 5, 33), floats(8, 3, 3, 3), floats(8),
    ),
    Case(
        "conv2d of wide images by twos", _f("conv2d", stride=2, padding=1),
        floats(2, 3, 7, 41), floats(6, 3, 3, 3), floats(6),
    ),
    Case(
        "conv2d of single elements", _f("conv2d"),
        floats(2, 3, 4, 5), floats(4, 3, 1, 1), floats(4), smooth=True,
    ),
    Case(
        "conv2d by channels", _f("conv2d", padding=1, groups=3),
        floats(2, 3, 4, 5), floats(6, 1, 3, 3), smooth=True, device=True,
    ),
    Case(
        "conv2d, same, even kernel", _f("conv2d", padding="same", dilation=2),
        floats(2, 2, 5, 4), floats(3, 2, 2, 4), floats(3),
    ),
    Case(
        "conv2d of no images", _f("conv2d"),
        floats(0, 2, 5, 4), floats(3, 2, 2, 3), floats(3),
    ),
    Case(
        "conv2d of turned images",
        lambda lib, x, w: lib.nn.functional.conv2d(x.transpose(1, 3), w[:, :, ::2]),
        floats(2, 5, 4, 3), floats(3, 3, 3, 2), smooth=True,
    ),
    Case(
        "conv3d", _f("conv3d", stride=(1, 2, 1), padding=(0, 1, 1)),
        floats(2, 2, 3, 4, 3), floats(3, 2, 2, 3, 2), floats(3),
    ),
    Case(
        "conv_transpose1d", _f("conv_transpose1d", stride=2, output_padding=1),
        floats(2, 3, 4), floats(3, 2, 3), floats(2), smooth=True,
    ),
    Case(
        "conv_transpose2d", _f("conv_transpose2d", stride=2, padding=1),
        floats(2, 3, 3, 2), floats(3, 2, 3, 3), floats(2), smooth=True, device=True,
    ),
    Case(
        "conv_transpose2d with all parameters",
        _f(
            "conv_transpose2d", stride=(2, 1), padding=(1, 0), output_padding=(1, 1),
            groups=2, dilation=(1, 2),
        ),
        floats(2, 4, 3, 4), floats(4, 3, 2, 2), floats(6),
    ),
    Case(
        "conv_transpose2d of wide images", _f("conv_transpose2d", padding=1),
        floats(2, 3, 4, 30), floats(3, 4, 3, 3), floats(4),
    ),
    Case(
        "conv_transpose3d", _f("conv_transpose3d", stride=2),
        floats(1, 2, 2, 2, 3), floats(2, 3, 2, 1, 2), floats(3),
    ),
    Case("Conv1d", floats(2, 3, 6), module=lambda lib: lib.nn.Conv1d(3, 4, 3)),
    Case(
        "Conv2d", floats(2, 2, 4, 4), module=lambda lib: lib.nn.Conv2d(2, 3, 3),
        smooth=True,
    ),
    Case(
        "Conv2d with all parameters", floats(1, 4, 6, 5),
        module=lambda lib: lib.nn.Conv2d(
            4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=2, groups=2,
            bias=False,
        ),
    ),
    *(
        Case(
            f"Conv2d, {mode}", floats(1, 2, 4, 5),
            module=lambda lib, mode=mode: lib.nn.Conv2d(
                2, 3, 3, padding=(1, 2), padding_mode=mode
            ),
        )
        for mode in ("reflect", "replicate", "circular")
    ),
    Case(
        "Conv2d, same", floats(2, 2, 4, 5),
        module=lambda lib: lib.nn.Conv2d(2, 3, (1, 3), padding="same"),
    ),
    Case(
        "Conv2d, same, circular", floats(2, 2, 4, 5),
        module=lambda lib: lib.nn.Conv2d(
            2, 3, (2, 3), padding="same", padding_mode="circular"
        ),
    ),
    Case("Conv3d", floats(1, 2, 3, 3, 3), module=lambda lib: lib.nn.Conv3d(2, 2, 2)),
    Case(
        "ConvTranspose1d", floats(2, 3, 4),
        module=lambda lib: lib.nn.ConvTranspose1d(3, 2, 3, stride=2),
    ),
    Case(
        "ConvTranspose2d", floats(2, 3, 4, 3),
        module=lambda lib: lib.nn.ConvTranspose2d(
            3, 2, 3, stride=2, padding=1, output_padding=1
        ),
    ),
    Case(
        "ConvTranspose2d of a size",
        lambda module, x: module(x, output_size=(1, 2, 8, 6)), floats(1, 3, 4, 3),
        module=lambda lib: lib.nn.ConvTranspose2d(3, 2, 3, stride=2, padding=1),
    ),
    Case(
        "ConvTranspose3d", floats(1, 2, 2, 2, 2),
        module=lambda lib: lib.nn.ConvTranspose3d(2, 2, 2, bias=False),
    ),
    # pooling
    Case("max_pool1d", _f("max_pool1d", 2), distinct(2, 3, 7), smooth=True),
    Case(
        "max_pool1d with places",
        _f("max_pool1d", 3, 2, 1, 2, True, return_indices=True), distinct(2, 3, 9),
    ),
    Case(
        "max_pool2d", _f("max_pool2d", 2), distinct(2, 2, 4, 6), smooth=True,
        device=True,
    ),
    Case(
        "max_pool2d with places",
        _f("max_pool2d", (3, 2), (2, 1), (1, 1), (1, 2), True, True),
        distinct(1, 2, 6, 5), device=True,
    ),
    Case("max_pool2d of one image", _f("max_pool2d", 3, 1, 1), distinct(2, 4, 5)),
    Case("max_pool2d of large windows", _f("max_pool2d", 5), distinct(2, 10, 5)),
    Case(
        "max_pool3d", _f("max_pool3d", 2, stride=1, padding=1), distinct(1, 2, 3, 2, 4)
    ),
    Case("avg_pool1d", _f("avg_pool1d", 2), floats(2, 3, 7), smooth=True),
    Case(
        "avg_pool2d", _f("avg_pool2d", 2), floats(2, 2, 4, 6), smooth=True, device=True
    ),
    Case(
        "avg_pool2d over edges", _f("avg_pool2d", 3, 2, 1, True), floats(1, 2, 6, 5),
        device=True,
    ),
    Case(
        "avg_pool2d of what is inside", _f("avg_pool2d", 3, 2, 1, True, False),
        floats(2, 2, 6, 5), smooth=True,
    ),
    Case(
        "avg_pool2d by a number", _f("avg_pool2d", 3, 2, 1, divisor_override=4),
        floats(2, 2, 6, 5),
    ),
    Case("avg_pool3d", _f("avg_pool3d", 2, 1, 1), floats(1, 2, 3, 2, 4)),
    Case("adaptive_avg_pool1d", _f("adaptive_avg_pool1d", 3), floats(2, 3, 7)),
    Case(
        "adaptive_avg_pool2d", _f("adaptive_avg_pool2d", (3, None)),
        floats(2, 2, 5, 4), smooth=True, device=True,
    ),
    Case("adaptive_avg_pool2d of all", _f("adaptive_avg_pool2d", 1), floats(2, 3, 4)),
    Case(
        "adaptive_avg_pool3d", _f("adaptive_avg_pool3d", (2, 3, 5)),
        floats(1, 2, 3, 4, 2),
    ),
    Case(
        "adaptive_max_pool1d", _f("adaptive_max_pool1d", 3, True), distinct(2, 2, 7)
    ),
    Case(
        "adaptive_max_pool2d", _f("adaptive_max_pool2d", (3, 5), True),
        distinct(2, 2, 5, 4), device=True,
    ),
    Case(
        "adaptive_max_pool3d", _f("adaptive_max_pool3d", 2), distinct(1, 2, 3, 4, 2)
    ),
    Case("lp_pool1d", _f("lp_pool1d", 2, 3), floats(2, 2, 7)),
    Case("lp_pool2d", _f("lp_pool2d", 2, 2), floats(2, 2, 4, 4), smooth=True),
    Case(
        "lp_pool3d", _f("lp_pool3d", 1.5, 2), floats(1, 2, 2, 4, 2, low=0.1)
    ),
    Case("MaxPool1d", distinct(2, 3, 8), module=lambda lib: lib.nn.MaxPool1d(2)),
    Case("MaxPool2d", distinct(2, 3, 8, 6), module=lambda lib: lib.nn.MaxPool2d(2)),
    Case(
        "MaxPool2d with places", distinct(2, 3, 7, 6),
        module=lambda lib: lib.nn.MaxPool2d(
            3, stride=2, padding=1, return_indices=True, ceil_mode=True
        ),
    ),
    Case("MaxPool3d", distinct(1, 2, 4, 4, 2), module=lambda lib: lib.nn.MaxPool3d(2)),
    Case("AvgPool1d", floats(2, 3, 8), module=lambda lib: lib.nn.AvgPool1d(3, 2)),
    Case(
        "AvgPool2d", floats(2, 3, 8, 6),
        module=lambda lib: lib.nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    ),
    Case("AvgPool3d", floats(1, 2, 4, 4, 2), module=lambda lib: lib.nn.AvgPool3d(2)),
    *(
        Case(
            name, distinct(*(2, 2, 5, 4, 3)[: nd + 2]),
            module=lambda lib, name=name: getattr(lib.nn, name)(2),
        )
        for nd in (1, 2, 3)
        for name in (f"AdaptiveAvgPool{nd}d", f"AdaptiveMaxPool{nd}d")
    ),
    Case("LPPool1d", floats(2, 2, 6), module=lambda lib: lib.nn.LPPool1d(2, 3)),
    Case("LPPool2d", floats(2, 2, 6, 6), module=lambda lib: lib.nn.LPPool2d(2, 3, 2)),
    # columns
    Case("unfold", _f("unfold", 2), floats(2, 2, 3, 4), smooth=True, device=True),
    Case(
        "unfold with all parameters", _f("unfold", (2, 3), (2, 1), (1, 2), (1, 2)),
        floats(2, 5, 6),
    ),
    Case("fold", _f("fold", (3, 4), 2), floats(2, 8, 6), smooth=True, device=True),
    Case(
        "fold with all parameters", _f("fold", (5, 6), (2, 3), (2, 1), (1, 2), (1, 2)),
        floats(12, 20),
    ),
    Case("Unfold", floats(2, 2, 3, 4), module=lambda lib: lib.nn.Unfold((2, 3))),
    Case("Fold", floats(2, 8, 6), module=lambda lib: lib.nn.Fold((3, 4), 2)),
    # sizes
    Case(
        "interpolate", _f("interpolate", scale_factor=2), floats(1, 2, 2, 3),
        smooth=True, device=True,
    ),
    Case("interpolate, exact", _f("interpolate", 5, mode="nearest-exact"),
         floats(1, 2, 3)),
    Case("interpolate, linear", _f("interpolate", 7, mode="linear"), floats(2, 2, 4)),
    Case(
        "interpolate, bilinear", _f("interpolate", (5, 3), mode="bilinear"),
        floats(1, 2, 3, 4), smooth=True, device=True,
    ),
    Case(
        "interpolate, bilinear, aligned",
        _f("interpolate", (5, 3), mode="bilinear", align_corners=True),
        floats(2, 2, 3, 4),
    ),
    Case(
        "interpolate, bilinear, by a factor",
        _f("interpolate", scale_factor=(2, 0.5), mode="bilinear"), floats(2, 2, 3, 5),
    ),
    Case(
        "interpolate, bilinear, by a ratio",
        _f(
            "interpolate", scale_factor=1.7, mode="bilinear",
            recompute_scale_factor=True,
        ),
        floats(2, 2, 3, 4),
    ),
    Case(
        "interpolate, bicubic", _f("interpolate", (5, 3), mode="bicubic"),
        floats(1, 2, 3, 4), smooth=True,
    ),
    Case(
        "interpolate, trilinear", _f("interpolate", (3, 5, 2), mode="trilinear"),
        floats(1, 2, 2, 3, 4),
    ),
    Case("interpolate, area", _f("interpolate", (3, 5), mode="area"),
         floats(1, 2, 4, 3)),
    Case(
        "Upsample", floats(1, 2, 3, 2),
        module=lambda lib: lib.nn.Upsample(scale_factor=(2, 3)),
    ),
    Case(
        "Upsample, bilinear", floats(1, 2, 3, 2),
        module=lambda lib: lib.nn.Upsample(
            size=(4, 5), mode="bilinear", align_corners=True
        ),
    ),
    Case(
        "UpsamplingNearest2d", floats(1, 2, 3, 2),
        module=lambda lib: lib.nn.UpsamplingNearest2d(scale_factor=2),
    ),
    Case(
        "UpsamplingBilinear2d", floats(1, 2, 3, 2),
        module=lambda lib: lib.nn.UpsamplingBilinear2d(size=5),
    ),
    Case("pixel_shuffle", _f("pixel_shuffle", 2), floats(1, 8, 2, 3), smooth=True),
    Case("pixel_unshuffle", _f("pixel_unshuffle", 2), floats(2, 2, 4, 6)),
    Case("PixelShuffle", floats(9, 2, 1), module=lambda lib: lib.nn.PixelShuffle(3)),
    Case(
        "PixelUnshuffle", floats(1, 2, 4, 6),
        module=lambda lib: lib.nn.PixelUnshuffle(2),
    ),
]  # fmt: skip
