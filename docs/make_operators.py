"""Write docs/operators.md from the table of operators: `python docs/make_operators.py`.

`tests/test_docs.py` fails while the page and the declarations differ.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from numtensor import Tensor
from numtensor.ops.registry import Declared, everything

PAGE = Path(__file__).with_name("operators.md")
TITLES = {
    "elementwise": "Elementwise",
    "reduction": "Reductions",
    "reduction_pair": "Reductions that also say where",
    "composed": "Made of others, or with a loop of their own",
    "view": "Views",
    "copy": "Copies",
    "factory": "Factories",
}
DTYPES = {
    "all": "all",
    "number": "numbers",
    "integer": "integers, bool",
    "integer_number": "integers",
    "float": "floats",
}
HEADER = """# Operators

Made by `python docs/make_operators.py` from the declarations in `numtensor/ops/` and
from the factories; edit those.

Each operator is a function, `nt.name(...)`. One marked `t.` is also a method of
`Tensor`, and one marked `t._` has an in-place form, such as `t.exp_()`. Those of
layers are in their module: `nt.nn.functional.name(...)`. Arguments are PyTorch's. Every
operator runs on the CPU and on CUDA devices; the last column says where the host has a
part in that.
"""


def first_sentence(text: str | None) -> str:
    """Return a docstring to the first line that ends a sentence, fit for a table."""
    found: list[str] = []
    for line in (text or "").strip().splitlines():
        if not line.strip() or (found and found[-1].endswith((".", ":"))):
            break
        found.append(line.strip())
    return " ".join(found).partition(" Raises:")[0].replace("|", "\\|")


def row(declared: Declared) -> str:
    """Return an operator's line of the table."""
    names = [declared.name, *declared.aliases]
    forms = []
    if hasattr(Tensor, declared.name):
        forms.append("`t.`")
    if hasattr(Tensor, f"{declared.name}_"):
        forms.append("`t._`")
    gradient = "yes" if declared.differentiable else declared.why or "no"
    dtypes = DTYPES[declared.dtypes]
    if getattr(declared.operator, "rule", "") == "float" and declared.dtypes == "all":
        dtypes = "all, to floats"
    cells = (
        ", ".join(f"`{name}`" for name in names),
        " ".join(forms),
        dtypes,
        gradient,
        first_sentence(declared.call.__doc__)
        + (f" On CUDA, {declared.host}." if declared.host else ""),
    )
    return "| " + " | ".join(cells) + " |"


def page() -> str:
    """Return the text of the page."""
    lines = [HEADER]
    groups: dict[str, list[Declared]] = {}
    for declared in everything().values():
        groups.setdefault(declared.kind, []).append(declared)
    for kind in sorted(groups, key=lambda k: [*TITLES, k].index(k)):
        lines += [
            f"## {TITLES.get(kind, kind.capitalize())}",
            "",
            "| operator | forms | dtypes | gradient | |",
            "|---|---|---|---|---|",
            *(row(d) for d in sorted(groups[kind], key=lambda d: d.name)),
            "",
        ]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE}: {len(everything())} operators")
