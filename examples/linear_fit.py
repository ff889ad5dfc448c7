"""Fit a line four times: what a tensor library with gradients is for.

A thermometer brought back from a trip shows numbers in a unit nobody knows. Next
to eleven of its readings, t_u, stand the temperatures in degrees Celsius, t_c,
read at the same moments from a thermometer we trust. We guess that the two are
related by a line, t_c = w * t_u + b, and look for w and b:

1. say how bad a guess is: the loss;
2. find out by trying in which direction the loss falls: finite differences;
3. work that direction out on paper: derivatives by hand, gradient descent;
4. let the library work it out: autograd.

Read it from top to bottom, then run it: `python linear_fit.py --plot fit.png`.
The program knows what it should find, and exits with status 1 if it does not.
Nothing in it is special to numtensor: with `import torch` it runs on PyTorch.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import sys

import numtensor as torch

try:
    from tqdm import tqdm

    say = tqdm.write  # print, but above the progress bar instead of through it
except ImportError:  # the bar is a comfort, not a need
    say = print

    def tqdm(iterable, **_):
        return iterable


CELSIUS = [0.5, 14.0, 15.0, 28.0, 11.0, 8.0, 3.0, -4.0, 6.0, 13.0, 21.0]
UNKNOWN = [35.7, 55.9, 58.2, 81.9, 56.3, 48.9, 33.9, 21.8, 48.4, 60.4, 68.4]

# What the stages must find, to the digits they print; inf stands for a loss that
# has left the range of float32, be it as inf or as nan.
EXPECTED = {
    "loss at w=1, b=0": [1763.8846],
    "loss at learning rate 1e-2": [math.inf],
    "parameters after 100 epochs": [0.2327, -0.0438],
    "loss at epoch 100": [29.022669],
    "gradient by autograd at w=1, b=0": [4517.2969, 82.6000],
}
EXPECTED_AT_5000 = {
    "parameters after 5000 epochs": [5.3671, -17.3012],
    "loss at epoch 5000": [2.927648],
    "parameters after 5000 epochs with autograd": [5.3671, -17.3012],
}


# 1. A model and a loss. ------------------------------------------------------------
# The loss is one number: the mean of the squared misses, so that a miss counts
# whether it is too warm or too cold, and a big one counts more than two small ones.


def model(t_u, w, b):
    return w * t_u + b


def loss_fn(t_p, t_c):
    squared_diffs = (t_p - t_c) ** 2
    return squared_diffs.mean()


def first_guess(t_u, t_c):
    """Return the loss of the guess that the unknown unit is Celsius."""
    w = torch.ones((), device=t_u.device)
    b = torch.zeros((), device=t_u.device)
    t_p = model(t_u, w, b)  # w and b have no dimensions: they meet every reading
    loss = loss_fn(t_p, t_c)
    print("\n1. A first guess: w = 1, b = 0")
    print(t_p)
    print(loss)
    return loss


# 2. Which way is down? Try it out. -------------------------------------------------
# Move w a little up and a little down; how much the loss differs says how steep it
# is in w. The same for b. Then step downhill, and repeat. It costs two evaluations
# of the model for every parameter: nothing for two parameters, hopeless for a million.


def gradient_by_trying(t_u, t_c, w, b, delta=0.1):
    def loss(w, b):
        return loss_fn(model(t_u, w, b), t_c)

    dloss_dw = (loss(w + delta, b) - loss(w - delta, b)) / (2 * delta)
    dloss_db = (loss(w, b + delta) - loss(w, b - delta)) / (2 * delta)
    return dloss_dw, dloss_db


def step_by_trying(t_u, t_c, learning_rate, steps):
    w = torch.ones((), device=t_u.device)
    b = torch.zeros((), device=t_u.device)
    print("\n2. Central differences, delta = 0.1")
    for step in range(1, steps + 1):
        dloss_dw, dloss_db = gradient_by_trying(t_u, t_c, w, b)
        if step == 1:
            print(torch.stack([dloss_dw, dloss_db]))
        w = w - learning_rate * dloss_dw
        b = b - learning_rate * dloss_db
        loss = loss_fn(model(t_u, w, b), t_c)
        print(f"Step {step}, Loss {float(loss):f}")


# 3. Which way is down? Work it out. ------------------------------------------------
# The chain rule: the loss depends on the predictions t_p, and they on w and b.


def dloss_fn(t_p, t_c):
    return 2 * (t_p - t_c) / t_p.size(0)  # the mean divides by the number of readings


def dmodel_dw(t_u, w, b):
    return t_u


def dmodel_db(t_u, w, b):
    return 1.0


def grad_fn(t_u, t_c, t_p, w, b):
    dloss_dtp = dloss_fn(t_p, t_c)
    dloss_dw = dloss_dtp * dmodel_dw(t_u, w, b)
    dloss_db = dloss_dtp * dmodel_db(t_u, w, b)
    # Every reading pulls at the same w and b, so the pulls add up.
    return torch.stack([dloss_dw.sum(), dloss_db.sum()])


def train_by_hand(params, t_u, t_c, learning_rate, epochs):
    """Return the parameters after `epochs` steps and the last epoch's loss."""
    for epoch in counted(epochs):
        w, b = params
        t_p = model(t_u, w, b)
        loss = loss_fn(t_p, t_c)
        params = params - learning_rate * grad_fn(t_u, t_c, t_p, w, b)
        if is_shown(epoch, epochs):
            say(f"Epoch {epoch}, Loss {float(loss):f}")
    return params, loss


# 4. Which way is down? Ask. --------------------------------------------------------
# A tensor with requires_grad=True remembers what was computed from it. backward()
# goes the same way back by the chain rule and leaves the gradient in params.grad.


def gradient_by_autograd(t_u, t_c):
    params = torch.tensor([1.0, 0.0], requires_grad=True, device=t_u.device)
    loss = loss_fn(model(t_u, *params), t_c)
    loss.backward()
    return params.grad


def train_by_autograd(params, t_u, t_c, learning_rate, epochs):
    """Return `params`, changed in place, and the last epoch's loss."""
    for epoch in counted(epochs):
        if params.grad is not None:
            params.grad.zero_()  # backward() adds to what is there
        loss = loss_fn(model(t_u, *params), t_c)
        loss.backward()
        with torch.no_grad():  # the step itself is not a part of the model
            params -= learning_rate * params.grad
        if is_shown(epoch, epochs):
            say(f"Epoch {epoch}, Loss {float(loss.detach()):f}")
    return params, loss


# The four stages, one after the other. ---------------------------------------------


def run_stages(device, epochs):
    """Print every stage; return the figures found and the fitted parameters."""
    t_c = torch.tensor(CELSIUS, device=device)
    t_u = torch.tensor(UNKNOWN, device=device)
    start = torch.tensor([1.0, 0.0], device=device)
    found = {}

    found["loss at w=1, b=0"] = [float(first_guess(t_u, t_c))]

    step_by_trying(t_u, t_c, learning_rate=1e-4, steps=3)

    print("\n3a. Derivatives by hand, learning rate 1e-2: each step overshoots")
    params, loss = train_by_hand(start, t_u, t_c, learning_rate=1e-2, epochs=100)
    print(params)
    found["loss at learning rate 1e-2"] = [float(loss)]

    print("\n3b. Learning rate 1e-4: safe for w, but b hardly moves")
    params, loss = train_by_hand(start, t_u, t_c, learning_rate=1e-4, epochs=100)
    print(params)
    found["parameters after 100 epochs"] = params.tolist()
    found["loss at epoch 100"] = [float(loss)]

    # The loss is some fifty times steeper in w than in b, because t_u is near 50: no
    # one learning rate suits both. Smaller inputs bring the two slopes together.
    t_un = 0.1 * t_u
    print("\n3c. Inputs scaled by 0.1, learning rate 1e-2")
    params, loss = train_by_hand(start, t_un, t_c, learning_rate=1e-2, epochs=epochs)
    print(params)
    found["parameters after 5000 epochs"] = params.tolist()
    found["loss at epoch 5000"] = [float(loss)]

    print("\n4a. The gradient by autograd")
    grad = gradient_by_autograd(t_u, t_c)
    print(grad)
    found["gradient by autograd at w=1, b=0"] = grad.tolist()

    print("\n4b. Autograd, inputs scaled by 0.1, learning rate 1e-2")
    params = torch.tensor([1.0, 0.0], requires_grad=True, device=device)
    params, loss = train_by_autograd(params, t_un, t_c, 1e-2, epochs)
    print(params)
    found["parameters after 5000 epochs with autograd"] = params.tolist()
    return found, params.tolist()


# Around the stages: showing, checking, drawing. ------------------------------------


def counted(epochs):
    """Count 1 to `epochs`, with a bar if that takes a while on a terminal."""
    # Looking at the clock only every 100 epochs keeps the bar out of the timings.
    return tqdm(
        range(1, epochs + 1),
        file=sys.stdout,
        disable=None,  # that is: off unless the file is a terminal
        delay=0.3,
        miniters=100,
        leave=False,
    )


def is_shown(epoch, epochs):
    return epoch <= 3 or epoch == epochs or epoch % max(1, epochs // 5) == 0


def agrees(found, expected):
    """Say if two lists of numbers are equal to the digits that are printed."""
    # Sums in another order round differently, so the last printed digit is free.
    return len(found) == len(expected) and all(
        math.isclose(f, e, rel_tol=1e-4, abs_tol=1e-4)
        if math.isfinite(e)
        else not math.isfinite(f)
        for f, e in zip(found, expected, strict=True)
    )


def plot(path, w, b):
    """Draw the readings and the line fitted to a tenth of them."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise SystemExit(
            "linear_fit: --plot needs matplotlib: pip install matplotlib"
        ) from None

    ends = [min(UNKNOWN), max(UNKNOWN)]
    figure = Figure(figsize=(6.4, 4.8), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)  # draws into memory: needs no window
    axes = figure.add_subplot()
    axes.plot(UNKNOWN, CELSIUS, "o", label="readings")
    label = f"t_c = {0.1 * w:.4f} t_u {'-' if b < 0 else '+'} {abs(b):.2f}"
    axes.plot(ends, [w * 0.1 * t + b for t in ends], label=label)
    axes.set_xlabel("measurement t_u (unknown unit)")
    axes.set_ylabel("temperature t_c (°C)")
    axes.set_title("Eleven thermometer readings and the fitted line")
    axes.legend()
    figure.savefig(path)


def main(argv=None):
    """Run the stages, check their figures; return the exit status."""
    parser = argparse.ArgumentParser(description="Fit a line to thermometer readings.")
    parser.add_argument("--device", default="cpu", help="where the tensors live")
    parser.add_argument(
        "--epochs", type=int, default=5000, help="length of the two long loops"
    )
    parser.add_argument("--plot", metavar="FILE", help="draw the fit into this image")
    parser.add_argument("--quiet", action="store_true", help="print the verdict only")
    args = parser.parse_args(argv)
    if args.epochs < 1:
        parser.error(f"--epochs: got {args.epochs}; expected 1 or more")

    with contextlib.redirect_stdout(io.StringIO() if args.quiet else sys.stdout):
        found, (w, b) = run_stages(args.device, args.epochs)
    if args.plot:
        plot(args.plot, w, b)

    # A run of another length has no reason to end at the figures of 5000 epochs.
    expected = EXPECTED | (EXPECTED_AT_5000 if args.epochs == 5000 else {})
    wrong = [name for name in expected if not agrees(found[name], expected[name])]
    for name in wrong:
        print(f"{name}: got {found[name]}; expected {expected[name]}")
    if wrong:
        return 1
    print(f"all {len(expected)} figures agree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
