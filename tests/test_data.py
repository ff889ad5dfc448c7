"""Datasets, samplers, collating, and loaders with and without workers."""

from __future__ import annotations

import collections
import os
import pickle
import random
import threading

import numpy as np
import pytest

import numtensor as nt
from numtensor.utils.data import (
    BatchSampler,
    ChainDataset,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    StackDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    default_convert,
    get_worker_info,
    random_split,
)

KINDS = [{"num_workers": 0}, {"num_workers": 2}]
KINDS.append({"num_workers": 2, "multiprocessing_context": "fork"})
workers = pytest.mark.parametrize("kind", KINDS, ids=["alone", "threads", "processes"])


class Squares(Dataset):
    def __init__(self, n, fail_at=None):
        self.n, self.fail_at = n, fail_at

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        if index == self.fail_at:
            raise KeyError(f"no sample {index}")
        return nt.tensor([index, index**2]), index % 3


class Stream(IterableDataset):
    """0 ... n - 1, shared between workers."""

    def __init__(self, n):
        self.n = n

    def __iter__(self):
        info = get_worker_info()
        first, step = (0, 1) if info is None else (info.id, info.num_workers)
        return iter(range(first, self.n, step))


# datasets


def test_tensor_dataset():
    data = TensorDataset(nt.arange(4), nt.ones(4, 2))
    assert len(data) == 4
    assert data[2][0].item() == 2 and data[2][1].shape == (2,)
    with pytest.raises(ValueError, match=r"^TensorDataset: got tensors of 4, 3 rows;"):
        TensorDataset(nt.arange(4), nt.ones(3))


def test_concatenated_subset_and_stacked_datasets():
    both = Squares(3) + Squares(2)
    assert isinstance(both, ConcatDataset)
    assert [int(x[0]) for x, _ in both] == [0, 1, 2, 0, 1]
    assert int(both[-1][0][0]) == 1
    with pytest.raises(IndexError):
        both[5]
    assert [int(Subset(Squares(9), [4, 2])[k][0][0]) for k in (0, 1)] == [4, 2]
    stacked = StackDataset(a=Squares(3), b=nt.arange(3))
    assert sorted(stacked[1]) == ["a", "b"] and len(stacked) == 3
    chain = Stream(2) + Stream(3)
    assert isinstance(chain, ChainDataset) and list(chain) == [0, 1, 0, 1, 2]
    with pytest.raises(ValueError, match="Use ChainDataset"):
        ConcatDataset([Stream(2)])


def test_random_split_is_a_partition():
    parts = random_split(range(10), [6, 4], generator=nt.Generator().manual_seed(1))
    again = random_split(range(10), [6, 4], generator=nt.Generator().manual_seed(1))
    assert sorted(parts[0].indices + parts[1].indices) == list(range(10))
    assert [p.indices for p in parts] == [p.indices for p in again]
    assert [len(p) for p in random_split(range(10), [0.5, 0.25, 0.25])] == [6, 2, 2]
    with pytest.raises(ValueError, match="Sum of input lengths does not equal"):
        random_split(range(10), [6, 5])
    with pytest.warns(UserWarning, match="index 1 is 0"):
        random_split(range(1), [0.9, 0.1])


# samplers


def test_samplers():
    assert list(SequentialSampler(range(3))) == [0, 1, 2]
    order = list(RandomSampler(range(50)))
    assert sorted(order) == list(range(50)) and order != list(range(50))
    assert len(list(RandomSampler(range(4), num_samples=9))) == 9
    drawn = list(RandomSampler(range(3), replacement=True, num_samples=40))
    assert len(drawn) == 40 and set(drawn) == {0, 1, 2}
    assert sorted(SubsetRandomSampler([5, 7, 9])) == [5, 7, 9]
    assert list(BatchSampler(range(5), 2, True)) == [[0, 1], [2, 3]]
    for drop in (False, True):
        batches = BatchSampler(range(5), 2, drop)
        assert len(batches) == len(list(batches))
    with pytest.raises(ValueError, match="Is the dataset empty"):
        RandomSampler([])
    with pytest.raises(ValueError, match="batch_size=0"):
        BatchSampler(range(3), 0, False)


def test_a_generator_decides_the_order():
    def order(seed):
        return list(
            RandomSampler(range(20), generator=nt.Generator().manual_seed(seed))
        )

    assert order(3) == order(3) != order(4)
    nt.manual_seed(0)
    first = list(RandomSampler(range(20)))
    nt.manual_seed(0)
    assert list(RandomSampler(range(20))) == first


def test_weighted_sampling():
    nt.manual_seed(2)
    drawn = np.bincount(list(WeightedRandomSampler([1, 0, 3], 4000)), minlength=3)
    assert drawn[1] == 0
    # 4000 draws with p = 3/4: a standard deviation of 27
    assert abs(drawn[2] - 3000) < 140
    firsts = [next(iter(WeightedRandomSampler([1, 3], 2, False))) for _ in range(400)]
    assert abs(sum(firsts) - 300) < 45  # a standard deviation of 9
    assert sorted(WeightedRandomSampler([1, 2, 0, 4], 3, False)) == [0, 1, 3]
    with pytest.raises(ValueError, match="at most as many"):
        WeightedRandomSampler([1, 0], 2, False)
    for weights in ([1, -1], [0.0], [], [1, float("inf")], [1, float("nan")]):
        with pytest.raises(ValueError, match="expected weights of 0 or more"):
            WeightedRandomSampler(weights, 1)
    with pytest.raises(ValueError, match="num_samples=1.5"):
        WeightedRandomSampler([1], 1.5)


# batches


def test_collating():
    Point = collections.namedtuple("Point", "x y")
    assert default_collate([1, 2]).dtype is nt.int64
    assert default_collate([1.0, 2.0]).dtype is nt.float64
    assert default_collate([np.float32(1), np.float32(2)]).dtype is nt.float32
    assert default_collate([True, False]).dtype is nt.bool
    assert default_collate([np.ones(2), np.zeros(2)]).shape == (2, 2)
    found = default_collate([Point(1, "a"), Point(2, "b")])
    assert (
        isinstance(found, Point)
        and found.x.tolist() == [1, 2]
        and found.y == ("a", "b")
    )
    found = default_collate([{"k": nt.ones(2)}, {"k": nt.zeros(2)}])
    assert found["k"].tolist() == [[1, 1], [0, 0]]
    assert [x.tolist() for x in default_collate([(1, 2), (3, 4)])] == [[1, 3], [2, 4]]
    found = default_collate([collections.defaultdict(int, k=1)] * 2)
    assert found["k"].tolist() == [1, 1] and found["new"] == 0
    with pytest.raises(RuntimeError, match="should be of equal size"):
        default_collate([[1], [1, 2]])
    with pytest.raises(TypeError, match="batch must contain tensors"):
        default_collate([object()])
    with pytest.raises(ValueError, match="stack expects each tensor"):
        default_collate([nt.ones(2), nt.ones(3)])
    made = default_convert({"a": np.ones(2), "b": "text"})
    assert isinstance(made["a"], nt.Tensor) and made["b"] == "text"


# loaders


@workers
def test_batches_come_in_order(kind):
    loader = DataLoader(Squares(11), batch_size=4, **kind)
    assert len(loader) == 3
    batches = list(loader)
    assert [len(x) for x, _ in batches] == [4, 4, 3]
    assert [int(v) for x, _ in batches for v in x[:, 1]] == [k**2 for k in range(11)]
    assert [int(v) for _, y in batches for v in y] == [k % 3 for k in range(11)]


@workers
def test_shuffled_epochs(kind):
    data = TensorDataset(nt.arange(30))

    def epochs(seed):
        loader = DataLoader(
            data, 7, True, generator=nt.Generator().manual_seed(seed), **kind
        )
        return [[int(v) for (x,) in loader for v in x] for _ in range(2)]

    first, second = epochs(1)
    assert sorted(first) == sorted(second) == list(range(30)) and first != second
    assert epochs(1) == [first, second]


@workers
def test_streams(kind):
    found = list(DataLoader(Stream(11), batch_size=2, **kind))
    assert sorted(int(v) for x in found for v in x) == list(range(11))
    dropped = list(DataLoader(Stream(11), batch_size=2, drop_last=True, **kind))
    assert all(len(x) == 2 for x in dropped)
    assert [int(x) for x in DataLoader(Stream(4), batch_size=None)] == [0, 1, 2, 3]


@workers
def test_errors_of_a_dataset_reach_the_caller(kind):
    with pytest.raises(KeyError, match="no sample 5"):
        list(DataLoader(Squares(8, fail_at=5), batch_size=2, **kind))


@workers
def test_a_loader_left_in_the_middle_can_be_used_again(kind):
    loader = DataLoader(Squares(40), batch_size=2, **kind)
    for x, _ in loader:
        assert int(x[0, 0]) == 0
        break
    assert len(list(loader)) == 20


def where_am_i(index):
    info = get_worker_info()
    return (info.id, info.seed, os.getpid())


class Where(Squares):
    def __getitem__(self, index):
        return where_am_i(index)


def plain(batch):
    return batch


def test_workers_know_who_they_are():
    assert get_worker_info() is None
    for kind in KINDS[1:]:
        found = [
            s for b in DataLoader(Where(8), 2, collate_fn=plain, **kind) for s in b
        ]
        assert {s[0] for s in found} == {0, 1}
        assert len({s[1] for s in found}) == 2  # seeds differ
        apart = {s[2] for s in found}
        assert (os.getpid() in apart) == ("multiprocessing_context" not in kind)
    assert get_worker_info() is None


PATIENCE = 60  # seconds that a test waits for what does not come


def test_threads_load_at_the_same_time():
    together = threading.Barrier(4)

    class Meeting(Squares):
        def __getitem__(self, index):
            together.wait(PATIENCE)  # for three others that load as well
            return index

    loader = DataLoader(Meeting(8), num_workers=4, prefetch_factor=1)
    assert [int(x) for x in loader] == list(range(8))


def test_threads_load_while_another_computes():
    loaded = [threading.Event() for _ in range(4)]

    class Noted(Squares):
        def __getitem__(self, index):
            loaded[index].set()
            return index

    loader = DataLoader(Noted(4), num_workers=1, prefetch_factor=1)
    for k, _ in enumerate(loader):
        assert all(event.wait(PATIENCE) for event in loaded[: k + 2])


def test_batches_come_as_they_are_ready():
    free = threading.Event()

    class First(Squares):
        def __getitem__(self, index):
            assert index or free.wait(PATIENCE)
            return index

    batches = iter(DataLoader(First(2), num_workers=2, in_order=False))
    assert int(next(batches)) == 1
    free.set()
    assert [int(x) for x in batches] == [0]


def test_processes_compute_with_threaded_kernels_alive():
    """A forked worker's kernels run, after the parent has started its threads."""
    big = nt.ones(400_000)
    assert float((big + big).sum()) == 800_000

    class Sums(Squares):
        def __getitem__(self, index):
            return (big * index).sum()

    found = list(DataLoader(Sums(3), 1, num_workers=1, multiprocessing_context="fork"))
    assert [float(x) for x in found] == [0.0, 400_000.0, 800_000.0]


class Killed(Squares):
    def __getitem__(self, index):
        os._exit(3)


def test_a_killed_worker_is_an_error():
    loader = DataLoader(Killed(3), num_workers=1, multiprocessing_context="fork")
    with pytest.raises(RuntimeError, match="worker exited unexpectedly"):
        list(loader)


class Odd(Exception):
    """One that cannot be made again from what it was made of."""

    def __init__(self, index, why):
        super().__init__(f"sample {index}: {why}")


class Strange(Squares):
    def __getitem__(self, index):
        raise Odd(index, "strange")


def test_an_error_that_cannot_be_sent_is_told():
    with pytest.raises(Odd, match="sample 0: strange"):
        list(DataLoader(Strange(3), num_workers=1))
    loader = DataLoader(Strange(3), num_workers=1, multiprocessing_context="fork")
    with pytest.raises(RuntimeError, match="type Odd in a worker") as raised:
        list(loader)
    assert "Odd: sample 0: strange" in str(raised.value)


class Drawn(Squares):
    def __getitem__(self, index):
        return random.random(), np.random.rand(), nt.rand(()).item()


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_processes_draw_numbers_of_their_own(context):
    def draw():
        nt.manual_seed(3)
        loader = DataLoader(Drawn(4), num_workers=2, multiprocessing_context=context)
        return [float(x) for sample in loader for x in sample]

    found = draw()
    assert len(set(found)) == 12 and draw() == found


def test_timeout_and_start():
    free = threading.Event()

    class Waits(Squares):
        def __getitem__(self, index):
            free.wait(PATIENCE)

    with pytest.raises(RuntimeError, match=r"timed out after 0.05 seconds"):
        list(DataLoader(Waits(2), num_workers=1, timeout=0.05))
    free.set()
    begun = []
    list(DataLoader(Squares(4), num_workers=2, worker_init_fn=begun.append))
    assert sorted(begun) == [0, 1]

    def fails(worker):
        raise KeyError(f"worker {worker}")

    with pytest.raises(KeyError, match="worker 0"):
        list(DataLoader(Squares(4), num_workers=2, worker_init_fn=fails))


def test_persistent_workers_stay():
    names = set()

    class Named(Squares):
        def __getitem__(self, index):
            names.add(threading.get_ident())
            return index

    loader = DataLoader(Named(4), num_workers=1, persistent_workers=True)
    assert [int(x) for x in loader] == [int(x) for x in loader] == [0, 1, 2, 3]
    next(iter(loader))  # and no further
    assert [int(x) for x in loader] == [0, 1, 2, 3]
    assert len(names) == 1


@pytest.mark.parametrize("data", [range(6), Stream(6)], ids=["indices", "stream"])
def test_two_iterators_of_persistent_workers(data):
    loader = DataLoader(data, num_workers=2, persistent_workers=True)
    first = iter(loader)
    assert int(next(first)) == 0
    assert [int(x) for x in loader] == list(range(6))
    assert [int(x) for x in first] == list(range(1, 6))


def test_persistent_workers_after_an_error():
    data = Squares(4, fail_at=2)
    loader = DataLoader(data, num_workers=2, persistent_workers=True)
    for _ in range(2):
        with pytest.raises(KeyError, match="no sample 2"):
            list(loader)
    data.fail_at = None
    assert len(list(loader)) == 4


@workers
def test_what_is_in_a_stream_does_not_end_it(kind):
    class Texts(IterableDataset):
        def __iter__(self):
            yield from ("", None, [], "the end")

    found = list(DataLoader(Texts(), batch_size=None, **kind))
    assert [x for x in found if x] == ["the end"] * max(kind["num_workers"], 1)


def test_a_stream_longer_than_its_length():
    class Told(Stream):
        def __len__(self):
            return 8

    class Whole(Told):
        def __iter__(self):
            return iter(range(self.n))

    loader = DataLoader(Told(8), batch_size=2, num_workers=3)
    assert len(loader) == 4 and len(list(loader)) == 5  # two of them not full
    loader = DataLoader(Whole(8), batch_size=2, num_workers=2)
    assert len(list(loader)) == 8  # nobody asked for the length
    assert len(loader) == 4
    with pytest.warns(UserWarning, match="got batch 6 of an IterableDataset"):
        list(loader)


class Doubled(TensorDataset):
    def __getitem__(self, index):
        return tuple(2 * x for x in super().__getitem__(index))


def rows_of_tensors():
    x = nt.arange(12.0).reshape(4, 3)
    yield TensorDataset(x, nt.arange(4))
    yield TensorDataset(nt.arange(12.0).reshape(3, 4).t())
    yield TensorDataset(nt.arange(4.0).expand(3, 4).t())
    yield TensorDataset(x.refine_names("row", "column"))
    yield TensorDataset(x.clone().requires_grad_())
    yield Doubled(x)
    yield Subset(Doubled(x), [3, 1, 0, 2])
    yield Subset(Subset(TensorDataset(x), nt.arange(4)), [3, 1, 0, 2])
    yield TensorDataset()


@pytest.mark.parametrize("keys", [[2, 0, 3], [-1], [True], [np.int64(2)], (1, 2)])
def test_a_batch_is_its_samples_collated(keys):
    for data in rows_of_tensors():
        (found,) = DataLoader(data, batch_sampler=[keys])
        expected = default_collate([data[k] for k in keys])
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            assert a.tolist() == b.tolist()
            assert (a.dtype, a.names, a.stride()) == (b.dtype, b.names, b.stride())
            assert a.requires_grad == b.requires_grad


def test_a_batch_on_a_device(device):
    data = TensorDataset(nt.arange(6.0, device=device).reshape(3, 2))
    (found,) = DataLoader(data, batch_sampler=[[2, 0]])
    assert found[0].device == data.tensors[0].device
    assert found[0].tolist() == [[4, 5], [0, 1]]


def test_arguments_that_exclude_each_other():
    with pytest.raises(ValueError, match="sampler option is mutually exclusive"):
        DataLoader(range(3), shuffle=True, sampler=SequentialSampler(range(3)))
    with pytest.raises(ValueError, match="batch_sampler option is mutually exclusive"):
        DataLoader(range(3), batch_size=2, batch_sampler=[[0]])
    with pytest.raises(ValueError, match="unspecified shuffle option"):
        DataLoader(Stream(3), shuffle=True)
    with pytest.raises(ValueError, match="num_workers option should be non-negative"):
        DataLoader(range(3), num_workers=-1)
    with pytest.raises(ValueError, match="prefetch_factor option could only"):
        DataLoader(range(3), prefetch_factor=2)
    with pytest.raises(ValueError, match="mutually exclusive with drop_last"):
        DataLoader(range(3), batch_size=None, drop_last=True)
    with pytest.raises(ValueError, match="only be used with multi-process loading"):
        DataLoader(range(3), multiprocessing_context="fork")
    with pytest.raises(ValueError, match="worker_type='thread'"):
        DataLoader(
            range(3),
            num_workers=1,
            worker_type="thread",
            multiprocessing_context="fork",
        )
    with pytest.raises(ValueError, match="should specify a valid start method"):
        DataLoader(range(3), num_workers=1, multiprocessing_context="spoon")
    with pytest.raises(TypeError, match="should be a valid context object"):
        DataLoader(range(3), num_workers=1, multiprocessing_context=3)


def test_attributes_that_stay():
    loader = DataLoader(range(3))
    for name in ("batch_size", "sampler", "dataset", "drop_last", "persistent_workers"):
        with pytest.raises(ValueError, match=f"{name} attribute should not be set"):
            setattr(loader, name, None)
    loader.num_workers = 0
    assert len(pickle.loads(pickle.dumps(loader))) == 3


def test_memory_is_pinned_where_there_is_a_device(device):
    batch = {"x": nt.ones(2), "y": (nt.zeros(2), "text")}
    loader = DataLoader([batch], batch_size=None, collate_fn=plain, pin_memory=True)
    if nt.cuda.is_available():
        (found,) = loader
    else:
        with pytest.warns(UserWarning, match="no accelerator is found"):
            (found,) = loader
    assert type(found["y"]) is tuple and found["y"][1] == "text"
    for x in (found["x"], found["y"][0]):
        assert x.is_pinned() == nt.cuda.is_available()


def test_a_batch_sampler_and_no_batches():
    batches = [[2, 0], [1]]
    loader = DataLoader(nt.arange(3) * 10, batch_sampler=batches)
    assert [x.tolist() for x in loader] == [[20, 0], [10]]
    single = DataLoader(nt.arange(3), batch_size=None)
    assert [int(x) for x in single] == [0, 1, 2] and len(single) == 3
    # a list of indices is then one key, which the dataset has a meaning for
    sampler = BatchSampler(range(3), 2, drop_last=False)
    for count in (0, 1):
        loader = DataLoader(nt.arange(3) * 10, None, sampler=sampler, num_workers=count)
        assert [x.tolist() for x in loader] == [[0, 10], [20]]


@pytest.mark.torch
def test_collated_as_by_pytorch():
    torch = pytest.importorskip("torch")
    from torch.utils.data import default_collate as theirs

    batch = [({"a": 1, "b": [1.5, "x"]}, np.ones(2, "f4"), (True, 2))] * 3
    mine, other = default_collate(batch), theirs(batch)

    def same(a, b):
        if isinstance(a, nt.Tensor):
            assert isinstance(b, torch.Tensor)
            assert str(a.dtype) == str(b.dtype) and a.tolist() == b.tolist()
        elif isinstance(a, dict):
            assert list(a) == list(b)
            for key in a:
                same(a[key], b[key])
        elif isinstance(a, str):
            assert a == b
        else:
            assert type(a) is type(b) and len(a) == len(b)
            for x, y in zip(a, b, strict=True):
                same(x, y)

    same(mine, other)
