"""Fit the thermometer's readings by a small neural network, and draw its curve.

The line of `linear_fit.py` is one way to say how two scales are related; a network of
thirteen tanh units is another, which can bend. It is trained on nine of the eleven
readings and judged by the two it has not seen. Run it:

    python tanh_network.py --plot curve.png

Nothing in it is special to numtensor: with `torch` in the imports it runs on PyTorch.
"""

from __future__ import annotations

import argparse
import sys

import numtensor as torch
import numtensor.nn as nn
import numtensor.optim as optim

CELSIUS = [0.5, 14.0, 15.0, 28.0, 11.0, 8.0, 3.0, -4.0, 6.0, 13.0, 21.0]
UNKNOWN = [35.7, 55.9, 58.2, 81.9, 56.3, 48.9, 33.9, 21.8, 48.4, 60.4, 68.4]


def split(device):
    """Return normalised readings and temperatures: nine to learn from, two to judge."""
    t_c = torch.tensor(CELSIUS, device=device).unsqueeze(1)
    t_u = torch.tensor(UNKNOWN, device=device).unsqueeze(1) * 0.1
    order = torch.randperm(len(CELSIUS))
    learn, judge = order[:-2], order[-2:]
    return t_u[learn], t_c[learn], t_u[judge], t_c[judge]


def train(model, optimizer, data, epochs):
    """Train on all readings at once; print the losses now and then."""
    loss_fn = nn.MSELoss()
    t_u, t_c, judge_u, judge_c = data
    for epoch in range(1, epochs + 1):
        loss = loss_fn(model(t_u), t_c)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if epoch == 1 or epoch % max(1, epochs // 5) == 0:
            with torch.no_grad():
                judged = loss_fn(model(judge_u), judge_c)
            print(
                f"epoch {epoch:5d}: loss {loss.item():8.3f}, "
                f"on readings it has not seen {judged.item():8.3f}"
            )
    return loss.item()


def plot(path, model, device):
    """Draw the readings and what the network says between them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    grid = torch.arange(20.0, 90.0, device=device).unsqueeze(1)
    with torch.no_grad():
        curve = model(0.1 * grid)
    figure = Figure(figsize=(6.4, 4.8), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(UNKNOWN, CELSIUS, "o", label="readings")
    axes.plot(grid.cpu().numpy(), curve.cpu().numpy(), label="the network")
    axes.set_xlabel("measurement t_u (unknown unit)")
    axes.set_ylabel("temperature t_c (°C)")
    axes.set_title("Thirteen tanh units and eleven readings")
    axes.legend()
    figure.savefig(path)


def main(argv=None):
    """Train, print, draw; return 1 if the network did not learn."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cpu", help="where the tensors live")
    parser.add_argument("--epochs", type=int, default=5000)
    parser.add_argument("--plot", metavar="FILE", help="draw the fit into this image")
    args = parser.parse_args(argv)

    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(1, 13), nn.Tanh(), nn.Linear(13, 1))
    model.to(args.device)
    print(model)
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    loss = train(model, optimizer, split(args.device), args.epochs)
    if args.plot:
        plot(args.plot, model, args.device)
    return 0 if args.epochs < 5000 or loss < 2.5 else 1


if __name__ == "__main__":
    sys.exit(main())
