"""Predict the alcohol of wines from twelve other measurements of them.

A table becomes a tensor; columns are normalised by the means and deviations of the
wines that the network learns from; a linear model and a small network are compared on
wines that neither has seen. The data are those of 178 Italian wines that come with
scikit-learn. Run it:

    python wine_regression.py --plot wines.png
"""

from __future__ import annotations

import argparse
import sys

from sklearn.datasets import load_wine

import numtensor as nt
import numtensor.nn as nn
import numtensor.nn.functional as F
import numtensor.optim as optim
from numtensor.utils.data import DataLoader, TensorDataset


def load(device):
    """Return normalised tables and targets: of wines to learn from, and to judge by."""
    table = nt.from_numpy(load_wine().data).float()
    nt.manual_seed(5)
    table = table[nt.randperm(len(table))].to(device)
    learn, judge = table[:130], table[130:]
    mean, std = learn.mean(0), learn.std(0)
    learn, judge = (learn - mean) / std, (judge - mean) / std
    # alcohol is the first column
    return learn[:, 1:], learn[:, :1], judge[:, 1:], judge[:, :1], std[0].item()


def train(model, x, y, epochs):
    """Train in batches of 16, in another order every epoch."""
    optimizer = optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    loader = DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True)
    for _ in range(epochs):
        for rows, target in loader:
            optimizer.zero_grad()
            F.mse_loss(model(rows), target).backward()
            optimizer.step()
        schedule.step()


def plot(path, truth, guesses):
    """Draw what was guessed against what was measured."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 5.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, guess in guesses.items():
        axes.plot(truth.cpu().numpy(), guess.cpu().numpy(), ".", label=name)
    axes.axline((0, 0), slope=1, color="0.6", linewidth=1)
    axes.set_xlabel("alcohol measured (in deviations from the mean)")
    axes.set_ylabel("alcohol predicted")
    axes.set_title("Wines that neither model has seen")
    axes.legend()
    figure.savefig(path)


def main(argv=None):
    """Train both models; return 1 if they did not learn."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cpu", help="where the tensors live")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--plot", metavar="FILE", help="draw the result here")
    args = parser.parse_args(argv)

    x, y, judge_x, judge_y, unit = load(args.device)
    nt.manual_seed(2)
    models = {
        "linear": nn.Linear(12, 1),
        "network": nn.Sequential(
            nn.Linear(12, 32), nn.GELU(), nn.Dropout(0.1), nn.Linear(32, 1)
        ),
    }
    guesses, losses = {}, {}
    for name, model in models.items():
        model.to(args.device)
        train(model, x, y, args.epochs)
        model.eval()
        with nt.no_grad():
            guesses[name] = model(judge_x)
            losses[name] = F.mse_loss(guesses[name], judge_y).item()
        miss = losses[name] ** 0.5 * unit
        print(f"{name:8}: off by {miss:.2f} % alcohol (root mean square)")
    if args.plot:
        plot(args.plot, judge_y, guesses)
    # guessing the mean would have a loss of about 1
    return 0 if args.epochs < 100 or max(losses.values()) < 0.75 else 1


if __name__ == "__main__":
    sys.exit(main())
