"""Linear layers, embeddings, distances, flattening."""

from . import Case, floats, given, integers

CASES = [
    Case(
        "linear", lambda lib, x, w, b: lib.nn.functional.linear(x, w, b),
        floats(2, 3), floats(4, 3), floats(4), smooth=True, device=True,
    ),
    Case(
        "linear without bias", lambda lib, x, w: lib.nn.functional.linear(x, w),
        floats(2, 3), floats(4, 3), smooth=True,
    ),
    Case(
        "linear of a vector", lambda lib, x, w, b: lib.nn.functional.linear(x, w, b),
        floats(3), floats(4, 3), floats(4), smooth=True,
    ),
    Case(
        "linear of a stack", lambda lib, x, w, b: lib.nn.functional.linear(x, w, b),
        floats(2, 2, 3), floats(4, 3), floats(4), smooth=True, device=True,
    ),
    Case(
        "linear with a vector weight",
        lambda lib, x, w: lib.nn.functional.linear(x, w), floats(2, 3), floats(3),
        smooth=True,
    ),
    Case(
        "linear of a transposed batch",
        lambda lib, x, w, b: lib.nn.functional.linear(x.t(), w.t(), b),
        floats(3, 5), floats(3, 4), floats(4), smooth=True,
    ),
    Case(
        "linear of nothing", lambda lib, x, w, b: lib.nn.functional.linear(x, w, b),
        floats(0, 3), floats(4, 3), floats(4),
    ),
    Case("Linear", floats(2, 3), module=lambda lib: lib.nn.Linear(3, 4), smooth=True),
    Case(
        "Linear without bias", floats(2, 3),
        module=lambda lib: lib.nn.Linear(3, 4, bias=False),
    ),
    Case("Linear of one", floats(11, 1), module=lambda lib: lib.nn.Linear(1, 1)),
    Case("Identity", floats(2, 3), module=lambda lib: lib.nn.Identity(54, unused=1)),
    Case(
        "bilinear", lambda lib, a, b, w, c: lib.nn.functional.bilinear(a, b, w, c),
        floats(2, 3), floats(2, 4), floats(2, 3, 4), floats(2), smooth=True,
        device=True,
    ),
    Case(
        "Bilinear", floats(2, 2, 3), floats(2, 2, 4),
        module=lambda lib: lib.nn.Bilinear(3, 4, 2),
    ),
    Case(
        "embedding", lambda lib, i, w: lib.nn.functional.embedding(i, w),
        integers(5, 2, 3), floats(5, 2), smooth=True, device=True,
    ),
    Case(
        "embedding with padding",
        lambda lib, i, w: lib.nn.functional.embedding(i, w, padding_idx=-4),
        given([[0, 1, 1], [4, 1, 0]]), floats(5, 2), smooth=True,
    ),
    Case(
        "embedding by frequency",
        lambda lib, i, w: lib.nn.functional.embedding(i, w, scale_grad_by_freq=True),
        given([[0, 1, 1], [4, 1, 0]]), floats(5, 2), device=True,
    ),
    Case("Embedding", integers(5, 4), module=lambda lib: lib.nn.Embedding(5, 3)),
    Case(
        "Embedding with padding", given([[0, 2], [2, 4]]),
        module=lambda lib: lib.nn.Embedding(5, 3, padding_idx=2),
    ),
    Case(
        "cosine_similarity",
        lambda lib, a, b: lib.nn.functional.cosine_similarity(a, b),
        floats(2, 3), floats(2, 3), smooth=True, device=True,
    ),
    Case(
        "cosine_similarity over rows",
        lambda lib, a, b: lib.nn.functional.cosine_similarity(a, b, dim=0),
        floats(3, 2), floats(3, 1), smooth=True,
    ),
    Case(
        "CosineSimilarity", floats(2, 3), floats(2, 3),
        module=lambda lib: lib.nn.CosineSimilarity(dim=1, eps=1e-4),
    ),
    Case(
        "pairwise_distance",
        lambda lib, a, b: lib.nn.functional.pairwise_distance(a, b),
        floats(2, 3), floats(2, 3), smooth=True, device=True,
    ),
    Case(
        "pairwise_distance of order 1",
        lambda lib, a, b: lib.nn.functional.pairwise_distance(a, b, p=1.0),
        floats(2, 3), floats(3),
    ),
    Case(
        "pairwise_distance of order 3",
        lambda lib, a, b: lib.nn.functional.pairwise_distance(
            a, b, p=3.0, keepdim=True
        ),
        floats(2, 3), floats(2, 3),
    ),
    Case(
        "PairwiseDistance", floats(2, 3), floats(2, 3),
        module=lambda lib: lib.nn.PairwiseDistance(),
    ),
    Case("Flatten", floats(2, 3, 2), module=lambda lib: lib.nn.Flatten()),
    Case("Flatten some", floats(2, 3, 2), module=lambda lib: lib.nn.Flatten(0, 1)),
    Case(
        "Unflatten", floats(2, 6),
        module=lambda lib: lib.nn.Unflatten(1, (2, 3)),
    ),
]  # fmt: skip
