"""The thermometer example, run as a reader runs it: lines, exit codes, picture.

The expected lines were printed by PyTorch 2.13 on a CPU. Losses are compared as
numbers, because their last printed digit depends on the order of a sum.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "linear_fit.py"


@pytest.fixture
def linear_fit():
    """A fresh copy of the example, which a test may alter."""
    spec = importlib.util.spec_from_file_location("linear_fit_example", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stages_of(text: str) -> dict[str, list[str]]:
    """Split the output at its headings: {"3a": [lines], ...}."""
    pieces = re.split(r"^(\d[a-z]?)\. .*\n", text, flags=re.MULTILINE)
    return {
        name: body.strip().split("\n")
        for name, body in zip(pieces[1::2], pieces[2::2], strict=True)
    }


def losses_of(lines: list[str]) -> dict[int, float]:
    matches = [re.fullmatch(r"(?:Epoch|Step) (\d+), Loss (\S+)", s) for s in lines]
    return {int(m[1]): float(m[2]) for m in matches if m}


def test_a_full_run_prints_every_stage_and_agrees(linear_fit, capsys):
    assert linear_fit.main([]) == 0
    output = capsys.readouterr()
    assert output.err == ""  # no bar where nobody watches
    assert output.out.endswith("\nall 8 figures agree\n")

    stages = stages_of(output.out)
    assert list(stages) == ["1", "2", "3a", "3b", "3c", "4a", "4b"]

    assert stages["1"][:2] == [
        "tensor([35.7000, 55.9000, 58.2000, 81.9000, 56.3000, 48.9000, 33.9000, "
        "21.8000,",
        "        48.4000, 60.4000, 68.4000])",
    ]
    assert re.fullmatch(r"tensor\(1763\.88\d\d\)", stages["1"][2])

    assert losses_of(stages["2"]) == pytest.approx(
        {1: 323.0904, 2: 78.9296, 3: 37.5528}, rel=1e-3
    )

    overshooting = losses_of(stages["3a"])
    assert overshooting[2] == pytest.approx(5802484.5, rel=1e-4)
    assert not overshooting[100] < float("inf")
    assert stages["3a"][-1] == "tensor([nan, nan])"

    assert stages["3b"][-1] == "tensor([ 0.2327, -0.0438])"
    assert losses_of(stages["3b"])[100] == pytest.approx(29.022669, rel=1e-5)

    assert re.fullmatch(r"tensor\(\[  5\.367\d, -17\.301\d\]\)", stages["3c"][-1])
    scaled = losses_of(stages["3c"])
    assert list(scaled) == [1, 2, 3, 1000, 2000, 3000, 4000, 5000]
    assert scaled[1] == pytest.approx(80.364342, rel=1e-5)
    assert scaled[5000] == pytest.approx(2.927648, rel=1e-5)

    assert re.fullmatch(r"tensor\(\[4517\.29\d\d,   82\.(60|59)\d\d\]\)", *stages["4a"])

    # The verdict follows the last stage, so its parameters are the line before it.
    assert re.fullmatch(
        r"tensor\(\[  5\.367\d, -17\.301\d\], requires_grad=True\)", stages["4b"][-2]
    )
    assert losses_of(stages["4b"]) == pytest.approx(scaled, rel=1e-4)


def test_a_short_run_checks_only_what_does_not_depend_on_its_length(linear_fit, capsys):
    assert linear_fit.main(["--epochs", "10"]) == 0
    output = capsys.readouterr().out
    assert output.endswith("\nall 5 figures agree\n")
    assert list(losses_of(stages_of(output)["3c"])) == [1, 2, 3, 4, 6, 8, 10]


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("loss at w=1, b=0", [1764.8846]),
        ("loss at learning rate 1e-2", [29.0]),
        ("parameters after 100 epochs", [0.2327, 0.0438]),
        ("loss at epoch 100", [float("inf")]),
        ("gradient by autograd at w=1, b=0", [4517.2969]),
    ],
)
def test_a_wrong_figure_is_named_and_fails_the_run(linear_fit, capsys, name, wrong):
    linear_fit.EXPECTED[name] = wrong
    assert linear_fit.main(["--epochs", "1", "--quiet"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{name}: got [")
    assert line.endswith(f"; expected {wrong}")


def test_quiet_leaves_only_the_verdict(linear_fit, capsys):
    assert linear_fit.main(["--epochs", "1", "--quiet"]) == 0
    output = capsys.readouterr()
    assert output.out == "all 5 figures agree\n"
    assert output.err == ""


def test_hand_and_autograd_and_differences_give_one_gradient(linear_fit):
    torch = linear_fit.torch
    t_u, t_c = torch.tensor(linear_fit.UNKNOWN), torch.tensor(linear_fit.CELSIUS)
    w, b = torch.ones(()), torch.zeros(())
    by_hand = linear_fit.grad_fn(t_u, t_c, linear_fit.model(t_u, w, b), w, b)
    by_autograd = linear_fit.gradient_by_autograd(t_u, t_c)
    by_trying = linear_fit.gradient_by_trying(t_u, t_c, w, b)
    # In exact arithmetic: 2/11 * sum((t_u - t_c) * t_u) and 2/11 * sum(t_u - t_c).
    exact = [4517.296364, 82.6]
    assert by_hand.tolist() == pytest.approx(exact, rel=1e-6)
    assert by_autograd.tolist() == pytest.approx(exact, rel=1e-6)
    # The differences of two losses near 1764 keep four digits fewer.
    assert [float(x) for x in by_trying] == pytest.approx(exact, rel=1e-4)


def test_plot_writes_a_png(linear_fit, capsys, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "fit.png"
    assert linear_fit.main(["--epochs", "10", "--quiet", "--plot", str(path)]) == 0
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = (int.from_bytes(data[i : i + 4], "big") for i in (16, 20))
    assert (width, height) == (960, 720)
    assert 5_000 < len(data) < 500_000  # an empty canvas of this size is below 5 kB


@pytest.mark.parametrize("argv", [["--epochs", "0"], ["--epochs", "many"], ["--bogus"]])
def test_options_that_make_no_sense_are_refused(linear_fit, capsys, argv):
    with pytest.raises(SystemExit) as refused:
        linear_fit.main(argv)
    assert refused.value.code == 2
    assert "usage:" in capsys.readouterr().err
