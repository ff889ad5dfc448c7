"""Softmax and its kin: tasks are rows, whose elements stay in cache between sweeps.

A row is what lies along one dim: n elements, `inner` apart. Three forms of one text:
"rows", where the dim is the last; "strided", a row by itself, which suits the threads
of a GPU; "columns", where a task walks down `block` neighbouring rows side by side, so
that its loops vectorise, and keeps what belongs to a row in memory. Sums are made in
runs of the tensor's dtype, joined in float64, or in float64.
"""

from __future__ import annotations

from collections.abc import Callable

from ..expr import apply, var
from ..tasks import Lines, Tasks

#: elements in a run: few enough for a sum in float32, many enough to vectorise
RUN = 2048


def sweep(s: Lines, dtype: str, total: str, value: Callable[[], str]) -> None:
    """Print the sum over a row: `value()` prints element k's lines, and is a term."""
    s.add(f"{total} = float64(0)", "first = 0")
    s.open("while first < n:")
    s.add(f"part = {dtype}(0)", f"stop = min(n, first + {RUN})")
    s.open("for k in range(first, stop):")
    s.add(f"part = plus(part, {value()})")
    s.close()
    s.add(f"{total} += float64(part)", "first = stop")
    s.close()


def begin_row(s: Lines, flat: bool) -> None:
    """Print where row i begins, `base`; `flat` rows lie one after the other."""
    if flat:
        s.add("base = i * n")
    else:
        s.add(
            "above = udiv(i, inner)", "base = above * n * inner + (i - above * inner)"
        )


def largest(s: Lines, at: Callable[[str], str]) -> None:
    """Print the search for the largest element, `most`; NaN if there is one."""
    s.add(f"most = x[{at('0')}]")
    s.open("for k in range(1, n):")
    s.add(f"most = maximum(most, x[{at('k')}])")
    s.close()


def elementary(s: Lines, function: str, of: str, dtype: str) -> str:
    """Print a function ("exp", "log") of a name's value; return its value's name."""
    return s.value(apply(function, var(of, dtype)))


class _Walk:
    """Prints sweeps over the rows of a task, in one of the three forms.

    In lines, `{at}` is the place of an element, `{row}` the row's number, `{most}` and
    `{total}` its values in the dtype and in float64.
    """

    def __init__(self, s: Lines, dtype: str, form: str) -> None:
        self.s = s
        self.dtype = dtype
        self.columns = form == "columns"
        if not self.columns:
            begin_row(s, form == "rows")
        else:
            s.add(
                "above = udiv(i, across)",
                "begin = (i - above * across) * block",
                "width = min(block, inner - begin)",
                "base = above * n * inner + begin",
                "first_row = above * inner + begin",
            )
        at = {"rows": "base + k", "strided": "base + k * inner"}
        self.names = {
            "at": at.get(form, "base + k * inner + c"),
            "row": "first_row + c" if self.columns else "i",
            "most": "most[first_row + c]" if self.columns else "most",
            "total": "total[first_row + c]" if self.columns else "total",
        }

    def text(self, line: str) -> str:
        for name, found in self.names.items():
            line = line.replace("{" + name + "}", found)
        return line

    def add(self, *lines: str) -> None:
        self.s.add(*(self.text(line) for line in lines))

    def value(self, function: str, of: str, dtype: str) -> str:
        """Print an elementary function of what a line says; return its value's name."""
        self.add(f"argument = {of}")
        return elementary(self.s, function, "argument", dtype)

    def each_row(self, body: Callable[[], None]) -> None:
        """Print what is done once for each row."""
        if self.columns:
            self.s.open("for c in range(width):")
        body()
        if self.columns:
            self.s.close()

    def each(self, body: Callable[[], None], first: int = 0) -> None:
        """Print what is done for each element."""
        self.s.open(f"for k in range({first}, n):")
        self.each_row(body)
        self.s.close()

    def find_most(self) -> None:
        """Print the search for the largest element of x; NaN if there is one."""
        self.s.add("k = 0")
        self.each_row(lambda: self.add("{most} = x[{at}]"))
        self.each(lambda: self.add("{most} = maximum({most}, x[{at}])"), 1)

    def sum(self, term: Callable[[], str]) -> None:
        """Print the sum over a row: `term()` prints lines, and returns a term."""
        if not self.columns:
            sweep(self.s, self.dtype, "total", lambda: self.text(term()))
            return
        self.each_row(lambda: self.add("{total} = 0.0"))
        self.each(lambda: self.add(f"{{total}} = {{total}} + float64({term()})"))


def _kernel(
    name: str,
    title: str,
    dtype: str,
    form: str,
    pointers: tuple[str, ...],
    build: Callable[[_Walk], None],
) -> Tasks:
    kinds = [(p, dtype) for p in pointers]
    numbers: tuple[str, ...] = ("n", "inner")
    if form == "columns":
        kinds += [("most", dtype), ("total", "float64")]
        numbers += ("block", "across")
    return Tasks(
        (name, dtype, form),
        f"{name}_{dtype}_{form}",
        f"{title}, {dtype}, {form}.",
        tuple(kinds),
        lambda s: build(_Walk(s, dtype, form)),
        numbers=numbers,
    )


def softmax(dtype: str, form: str) -> Tasks:
    """Return the kernel out = exp(x - most) / sum."""

    def build(w: _Walk) -> None:
        def term() -> str:
            power = w.value("exp", "x[{at}] - {most}", dtype)
            w.add(f"out[{{at}}] = {power}")
            return power

        w.find_most()
        w.sum(term)
        w.each_row(lambda: w.add("{total} = div(float64(1), {total})"))
        w.each(lambda: w.add(f"out[{{at}}] = out[{{at}}] * {dtype}({{total}})"))

    return _kernel("softmax", "Softmax of rows", dtype, form, ("out", "x"), build)


def log_softmax(dtype: str, form: str) -> Tasks:
    """Return the kernel out = x - most - log(sum)."""

    def build(w: _Walk) -> None:
        w.find_most()
        w.sum(lambda: w.value("exp", "x[{at}] - {most}", dtype))
        w.each_row(lambda: w.add(f"{{total}} = {w.value('log', '{total}', 'float64')}"))
        w.each(
            lambda: w.add(f"out[{{at}}] = x[{{at}}] - {{most}} - {dtype}({{total}})")
        )

    title = "Logarithm of softmax of rows"
    return _kernel("log_softmax", title, dtype, form, ("out", "x"), build)


def logsumexp(dtype: str, form: str) -> Tasks:
    """Return the kernel out[row] = most + log(sum)."""

    def build(w: _Walk) -> None:
        w.find_most()
        # infinities are their own logarithm; subtracted, they would give NaN
        zero = f"{dtype}(0)"
        finite = f"{{most}} - {{most}} == {zero}"
        w.each_row(lambda: w.add(f"{{most}} = where({finite}, {{most}}, {zero})"))
        w.sum(lambda: w.value("exp", "x[{at}] - {most}", dtype))

        def finish() -> None:
            logarithm = w.value("log", "{total}", "float64")
            w.add(f"out[{{row}}] = {{most}} + {dtype}({logarithm})")

        w.each_row(finish)

    title = "Logarithm of sums of exponentials of rows"
    return _kernel("logsumexp", title, dtype, form, ("out", "x"), build)


def softmax_backward(dtype: str, form: str) -> Tasks:
    """Return the kernel gx = (g - sum(g * y)) * y of the result y."""

    def build(w: _Walk) -> None:
        w.sum(lambda: "g[{at}] * y[{at}]")
        gap = f"(g[{{at}}] - {dtype}({{total}}))"
        w.each(lambda: w.add(f"out[{{at}}] = {gap} * y[{{at}}]"))

    title = "Gradient of softmax of rows"
    return _kernel("softmax_backward", title, dtype, form, ("out", "g", "y"), build)


def log_softmax_backward(dtype: str, form: str) -> Tasks:
    """Return the kernel gx = g - exp(y) * sum(g) of the result y."""

    def build(w: _Walk) -> None:
        def store() -> None:
            power = w.value("exp", "y[{at}]", dtype)
            w.add(f"out[{{at}}] = g[{{at}}] - {power} * {dtype}({{total}})")

        w.sum(lambda: "g[{at}]")
        w.each(store)

    title = "Gradient of the logarithm of softmax of rows"
    return _kernel("log_softmax_backward", title, dtype, form, ("out", "g", "y"), build)
