"""Tell handwritten digits apart, by a plain network and by a convolutional one.

The 1,797 images of 8 by 8 pixels come with scikit-learn. Both networks learn from 1,437
of them and are judged by the other 360. Run it:

    python digits.py --plot digits.png

`--device cuda --images 40 --epochs 1` shows that it runs on a GPU, or in its simulator.
"""

from __future__ import annotations

import argparse
import sys

from sklearn.datasets import load_digits

import numtensor as nt
import numtensor.nn as nn
import numtensor.nn.functional as F
import numtensor.optim as optim
from numtensor.utils.data import DataLoader, TensorDataset, random_split


class Convolutional(nn.Module):
    """Two convolutions, each followed by pooling, and two linear layers."""

    def __init__(self, channels=16):
        super().__init__()
        self.conv1 = nn.Conv2d(1, channels, kernel_size=3, padding=1)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, 2 * channels, kernel_size=3, padding=1)
        self.norm2 = nn.BatchNorm2d(2 * channels)
        self.hidden = nn.Linear(2 * channels * 2 * 2, 4 * channels)
        self.dropout = nn.Dropout(0.25)
        self.out = nn.Linear(4 * channels, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.norm2(self.conv2(x))), 2)
        x = self.dropout(F.relu(self.hidden(x.flatten(1))))
        return self.out(x)


def plain(width=64):
    """Return the network that knows nothing of rows and columns."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10)
    )


def load(count, device):
    """Return datasets to learn from and to judge by, pixels between 0 and 1."""
    digits = load_digits()
    images = nt.from_numpy(digits.images[:count]).float().unsqueeze(1) / 16
    labels = nt.from_numpy(digits.target[:count])
    data = TensorDataset(images.to(device), labels.to(device))
    return random_split(data, [0.8, 0.2], generator=nt.Generator().manual_seed(0))


def train(model, data, epochs, batch):
    """Train with Adam, its rate going up and down once."""
    optimizer = optim.Adam(model.parameters())
    loader = DataLoader(data, batch_size=batch, shuffle=True)
    steps = epochs * len(loader)
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    model.train()
    for epoch in range(1, epochs + 1):
        total = 0.0
        for images, labels in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(labels)
        if epoch % max(1, epochs // 5) == 0:
            print(f"  epoch {epoch:3d}: loss {total / len(data):.4f}")


def judge(model, data):
    """Return how many of the images are told right, and the wrong ones."""
    model.eval()
    images, labels = next(iter(DataLoader(data, batch_size=len(data))))
    with nt.no_grad():
        guess = model(images).argmax(1)
    wrong = guess != labels
    accuracy = 1 - wrong.float().mean().item()
    return accuracy, images[wrong].cpu(), guess[wrong].tolist(), labels[wrong].tolist()


def plot(path, wrong, guesses, labels):
    """Draw the digits that the convolutional network took for others."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    count = min(10, len(guesses))
    figure = Figure(figsize=(1.1 * max(count, 3), 1.7), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    for k in range(count):
        axes = figure.add_subplot(1, count, k + 1)
        axes.imshow(wrong[k, 0].numpy(), cmap="gray_r")
        axes.set_title(f"{labels[k]}, not {guesses[k]}", fontsize=8)
        axes.set_axis_off()
    figure.suptitle("Digits taken for others", fontsize=9)
    figure.savefig(path)


def main(argv=None):
    """Train and judge both networks; return 1 if one knows less than it should."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cpu", help="where the tensors live")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--images", type=int, default=1797, help="how many to use")
    parser.add_argument("--width", type=int, default=16, help="channels, units / 4")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--plot", metavar="FILE", help="draw the mistakes here")
    args = parser.parse_args(argv)

    learn, held = load(args.images, args.device)
    nt.manual_seed(0)
    models = {
        "plain network": plain(4 * args.width),
        "convolutional network": Convolutional(args.width),
    }
    accuracies = []
    for name, model in models.items():
        count = sum(p.numel() for p in model.parameters())
        print(f"{name}, {count:,} parameters")
        model.to(args.device)
        train(model, learn, args.epochs, args.batch)
        accuracy, *mistakes = judge(model, held)
        accuracies.append(accuracy)
        print(f"  right on {accuracy:.1%} of {len(held)} digits it has not seen")
    if args.plot:
        plot(args.plot, *mistakes)
    return 0 if args.images < 1797 or args.epochs < 15 or min(accuracies) > 0.97 else 1


if __name__ == "__main__":
    sys.exit(main())
