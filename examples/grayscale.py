"""Turn a photograph into shades of gray, with dims called by their names.

The eye takes green for brighter than red, and red for brighter than blue: the gray of a
pixel is a weighted sum over its channels. Three ways to write that sum: by the place of
the dim, by its name, and by an equation. Run it:

    python grayscale.py --plot gray.png
"""

from __future__ import annotations

import argparse
import sys

from sklearn.datasets import load_sample_image

import numtensor as nt

#: of red, green and blue, for sRGB. Source: ITU-R BT.709
WEIGHTS = [0.2126, 0.7152, 0.0722]


def main(argv=None):
    """Compute, compare, draw; return 1 if the three ways disagree."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cpu", help="where the tensors live")
    parser.add_argument("--step", type=int, default=1, help="use every n-th pixel")
    parser.add_argument("--plot", metavar="FILE", help="draw the two pictures here")
    args = parser.parse_args(argv)

    pixels = load_sample_image("china.jpg")[:: args.step, :: args.step].copy()
    img = nt.from_numpy(pixels).to(args.device).permute(2, 0, 1).float() / 255
    weights = nt.tensor(WEIGHTS, device=args.device)

    # by place: the reader has to know that -3 is the dim of the channels
    by_place = (img * weights.unsqueeze(-1).unsqueeze(-1)).sum(-3)

    # by name
    img_named = img.refine_names(..., "channels", "rows", "columns")
    weights_named = weights.refine_names("channels")
    aligned = weights_named.align_as(img_named)
    print(f"weights {weights_named.names} align to {aligned.names}: {aligned.shape}")
    by_name = (img_named * aligned).sum("channels")

    # by an equation, which carries the names along
    by_equation = nt.einsum("...chw,c->...hw", img_named, weights_named)
    print(f"gray has the dims {by_name.names} either way: {by_equation.names}")

    try:
        img_named[..., :3] * weights_named
    except RuntimeError as error:
        print(f"a mistake that names catch: {error}")

    same = nt.allclose(by_place, by_name.rename(None), atol=1e-6)
    same &= nt.allclose(by_place, by_equation.rename(None), atol=1e-6)
    print(f"the three ways agree: {same}")
    if args.plot:
        plot(args.plot, pixels, by_place)
    return 0 if same else 1


def plot(path, pixels, gray):
    """Draw the photograph in colours and in gray."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    for k, (image, cmap) in enumerate(((pixels, None), (gray.cpu().numpy(), "gray"))):
        axes = figure.add_subplot(1, 2, k + 1)
        axes.imshow(image, cmap=cmap)
        axes.set_axis_off()
    figure.savefig(path)


if __name__ == "__main__":
    sys.exit(main())
