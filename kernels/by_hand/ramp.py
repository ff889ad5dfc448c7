"""Integers at equal distances."""

from __future__ import annotations

from ..tasks import Lines, Tasks


def ramp() -> Tasks:
    """Return the kernel whose task i stores start + i * step. Pointer: out, int64."""

    def build(source: Lines) -> None:
        source.add("out[i] = start + i * step")

    return Tasks(
        ("ramp",),
        "ramp",
        "Integers at equal distances.",
        (("out", "int64"),),
        build,
        scalars=(("start", "int64"), ("step", "int64")),
    )
