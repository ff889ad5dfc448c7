"""Lines of kernel source, as the printers of all targets put them down."""

from __future__ import annotations

from .loops import Reduction

INDENT = "    "


class Source:
    """Lines of one kernel at their indentation."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.depth = 1
        self.calls: set[str] = set()

    def add(self, *lines: str) -> None:
        self.lines += [INDENT * self.depth + line for line in lines]

    def open(self, line: str) -> None:
        self.add(line)
        self.depth += 1

    def close(self) -> None:
        self.depth -= 1

    def word(self, name: str) -> str:
        """Return a word of the target's language, which the kernel will import."""
        self.calls.add(name)
        return name


def import_lines(words: set[str]) -> list[str]:
    """Return the lines of an import that name words."""
    return [f"{INDENT}{word}," for word in sorted(words)]


def identity(reduction: Reduction, dtype: str, source: Source) -> str:
    """Return what joins with any value to that value."""
    text = reduction.combine.identity(dtype)
    if "math." in text:
        source.calls.add("math")
    if "(" in text:
        source.calls.add(dtype)
    return text


def join(reduction: Reduction, dtype: str, a: str, b: str, source: Source) -> str:
    """Source that joins two values: a word of the target, or integers by select."""
    name = reduction.combine.name
    if name in ("max", "min") and dtype == "bool":
        return f"{a} | {b}" if name == "max" else f"{a} & {b}"
    if name in ("max", "min") and not dtype.startswith("float"):
        source.calls.add("where")
        return f"where({b} {'>' if name == 'max' else '<'} {a}, {b}, {a})"
    template = reduction.combine.part
    word = template.partition("(")[0]
    if word.isidentifier():
        source.calls.add(word)
    return template.format(a, b)
