"""The operator that CONTRIBUTING.md adds, read from its very text, through the laws."""

from __future__ import annotations

import numpy as np
import pytest
import test_ops
from test_docs import block_after

import numtensor as nt
from numtensor.ops import declare, exponential, registry

NAME = "xlogy"
FORMS = (NAME, f"{NAME}_")
LAWS = (
    test_ops.test_every_dtype,
    test_ops.test_every_layout,
    test_ops.test_in_place,
    test_ops.test_out,
    test_ops.test_one_function_under_every_name,
    test_ops.test_gradient,
    test_ops.test_gradient_of_one_argument,
    test_ops.test_second_order,
    test_ops.test_gradient_in_float32,
)


@pytest.fixture
def declared(monkeypatch):
    """Declare it as if pasted into its file; afterwards all is as it was."""
    tables = (registry.TABLE, registry.FUNCTIONS)
    before = [dict(table) for table in tables]
    methods = {n: vars(nt.Tensor)[n] for n in FORMS if n in vars(nt.Tensor)}
    for table in tables:
        table.pop(NAME, None)
    for name in methods:
        delattr(nt.Tensor, name)
    scope = {"elementwise": declare.elementwise, "m": exponential.m, "np": np}
    exec(block_after("CONTRIBUTING.md", f"declaration: {NAME}"), scope)
    # importing numtensor does this for what is declared in its files
    monkeypatch.setattr(nt, NAME, registry.FUNCTIONS[NAME], raising=False)
    yield registry.TABLE[NAME]
    for table, entries in zip(tables, before, strict=True):
        table.clear()
        table.update(entries)
    for name in FORMS:
        delattr(nt.Tensor, name)
    for name, method in methods.items():
        setattr(nt.Tensor, name, method)


@pytest.mark.parametrize(
    "law", LAWS, ids=lambda law: law.__name__.removeprefix("test_")
)
def test_the_declaration_obeys(law, declared, rng):
    wanted = law.__code__.co_varnames[: law.__code__.co_argcount]
    law(*(declared if name == "op" else rng for name in wanted))


@pytest.mark.parametrize("dtype", test_ops.laws.FLOATS)
def test_special_values(dtype, declared):
    test_ops.test_special_values(declared, dtype)


def test_what_the_page_promises(declared):
    x, y = nt.tensor([0.0, 2.0, 3.0]), nt.tensor([0.0, 1.0, -1.0])
    for found in (nt.xlogy(x, y), x.xlogy(y), x.clone().xlogy_(y)):
        assert found[:2].tolist() == [0.0, 0.0]
        assert found[2].isnan().item()


def test_the_vocabulary_has_the_words_of_the_page(declared):
    for word in ("where", "maximum", "log"):
        assert callable(getattr(exponential.m, word))
