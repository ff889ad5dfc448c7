"""Streams and events: the order in which a device works.

Work on one stream happens in order, work on two in any order, unless an event says
otherwise. Each thread has a current stream on each device; all begin with the default
one. In the simulator everything is done when a call returns, whatever its stream.
"""

from __future__ import annotations

import itertools
from typing import Any

from .. import device_memory, devices
from ..devices import device as Device
from ..errors import DeviceError, NumtensorError, message
from ..kernels.cuda import driver
from .devices import find

_KEPT = 32
_HIGHEST = -3


class EventError(NumtensorError, ValueError, RuntimeError):
    """Events between which no time can be measured."""


#: the driver's streams, by driver, device and priority; handed out in turn, and never
#: destroyed, so that memory freed on one is reused
_pools: dict[tuple[Any, Device, int], tuple[list[Any], Any]] = {}
_priorities: dict[Any, int] = {}


def _pooled(on: Device, priority: int) -> Any:
    api = driver.current()
    assert on.index is not None
    streams, turns = _pools.setdefault((api, on, priority), ([], itertools.count()))
    turn = next(turns) % _KEPT
    while turn >= len(streams):
        made = api.stream(on.index, priority)
        _priorities[made] = priority
        streams.append(made)
    return streams[turn]


class Stream:
    """A queue of work on a device: `with nt.cuda.stream(nt.cuda.Stream()):`.

    One of 32 that each device has for each priority. `priority` below 0 is served
    first, -3 before all. The default stream is not waited for, nor does it wait: see
    `wait_stream`. Raises: DeviceError, no such device.
    """

    device: Device
    priority: int
    _raw: Any

    def __init__(self, device: Any = None, priority: int = 0) -> None:
        self.device = find("Stream", device)
        self.priority = max(_HIGHEST, min(0, int(priority)))
        self._raw = _pooled(self.device, self.priority)
        self._contexts: list[StreamContext] = []

    @staticmethod
    def priority_range() -> tuple[int, int]:
        """Return the least and the greatest priority."""
        return (0, _HIGHEST)

    @property
    def _index(self) -> int:
        assert self.device.index is not None
        return self.device.index

    @property
    def cuda_stream(self) -> int:
        """The driver's handle, to hand to other libraries; 0 for the default one."""
        return driver.current().handle(self._raw)

    def query(self) -> bool:
        """Return whether all work so far is done."""
        return driver.current().stream_done(self._index, self._raw)

    def synchronize(self) -> None:
        """Wait until all work so far is done."""
        driver.current().finish(self._index, self._raw)

    def wait_event(self, event: Event) -> None:
        """Let what comes on this stream wait for an event; the call does not."""
        event.wait(self)

    def wait_stream(self, stream: Stream) -> None:
        """Let what comes on this stream wait for what another has to do so far."""
        self.wait_event(stream.record_event())

    def record_event(self, event: Event | None = None) -> Event:
        """Put an event after all work so far, a new one if none is given."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def __enter__(self) -> Stream:
        context = StreamContext(self)
        context.__enter__()
        self._contexts.append(context)
        return self

    def __exit__(self, *error: Any) -> None:
        self._contexts.pop().__exit__(*error)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Stream):
            return NotImplemented
        return self.device is other.device and self._raw is other._raw

    def __hash__(self) -> int:
        return hash((self.device, self.cuda_stream))

    def __repr__(self) -> str:
        handle = f"{self.cuda_stream:#x}"
        return f"<torch.cuda.Stream device={self.device} cuda_stream={handle}>"


def _stream_of(on: Device, raw: Any) -> Stream:
    made = object.__new__(Stream)
    made.device = on
    made._raw = raw
    made.priority = _priorities.get(raw, 0)
    made._contexts = []
    return made


def current_stream(device: Any = None) -> Stream:
    """Return the stream that this thread works on. Raises: DeviceError."""
    on = find("current_stream", device)
    return _stream_of(on, device_memory.current_stream(on))


def default_stream(device: Any = None) -> Stream:
    """Return the stream that threads begin with. Raises: DeviceError."""
    return _stream_of(find("default_stream", device), 0)


def set_stream(stream: Stream | None) -> None:
    """Let this thread work on a stream, and 'cuda' mean its device; None is ignored."""
    if stream is not None:
        devices.set_current(stream._index)
        device_memory.set_stream(stream.device, stream._raw)


class StreamContext:
    """Work on a stream, and its device, in a block; None changes nothing."""

    def __init__(self, stream: Stream | None) -> None:
        self.stream = stream
        self._before: list[tuple[int, Any]] = []

    def __enter__(self) -> None:
        if self.stream is not None:
            raw = device_memory.current_stream(self.stream.device)
            self._before.append((devices.current(), raw))
            set_stream(self.stream)

    def __exit__(self, *error: Any) -> None:
        if self.stream is not None:
            device, raw = self._before.pop()
            device_memory.set_stream(self.stream.device, raw)
            devices.set_current(device)


def stream(stream: Stream | None) -> StreamContext:
    """Return what works on a stream in a block: `with nt.cuda.stream(s):`."""
    return StreamContext(stream)


class Event:
    """A place in the work of a stream, to wait for or to take the time at.

    `enable_timing` lets `elapsed_time` measure; `blocking` is accepted and changes
    nothing: who waits lets other threads run. Raises: DeviceError, `interprocess`.
    """

    def __init__(
        self,
        enable_timing: bool = False,
        blocking: bool = False,
        interprocess: bool = False,
    ) -> None:
        if interprocess:
            raise DeviceError(
                message(
                    "cuda.Event",
                    "interprocess=True",
                    "an event of one process",
                    "Memory and events are not shared between processes.",
                )
            )
        driver.current()
        self._timing = enable_timing
        self._raw: Any = None
        self.device: Device | None = None

    def record(self, stream: Stream | None = None) -> None:
        """Put the event after all work so far on a stream, by default the current one.

        An event belongs to the device on which it is first recorded.
        Raises: DeviceError, a stream of another device.
        """
        stream = current_stream() if stream is None else stream
        api = driver.current()
        if self.device is None:
            self._raw = api.event(stream._index, self._timing)
            self.device = stream.device
        elif self.device is not stream.device:
            raise DeviceError(
                message(
                    "cuda.Event.record",
                    f"an event of {self.device} and a stream of {stream.device}",
                    "one device",
                    f"Event device {self.device.index} does not match recording "
                    f"stream's device {stream.device.index}.",
                )
            )
        api.record(self._raw, stream._index, stream._raw)

    def wait(self, stream: Stream | None = None) -> None:
        """Let what comes on a stream, by default the current one, wait for the event.

        The call itself does not wait. Nothing waits for an event never recorded.
        """
        if self.device is not None:
            stream = current_stream() if stream is None else stream
            driver.current().wait_event(self._raw, stream._index, stream._raw)

    def query(self) -> bool:
        """Return whether the work before the event is done."""
        return self.device is None or driver.current().event_done(self._raw)

    def synchronize(self) -> None:
        """Wait until the work before the event is done."""
        if self.device is not None:
            assert self.device.index is not None
            driver.current().synchronize(self.device.index, self._raw)

    def elapsed_time(self, end_event: Event) -> float:
        """Return the milliseconds from this event to another.

        Raises: EventError, one does not take the time or was not recorded, or the work
        before it is not done.
        """
        events = (self, end_event)
        if not all(event._timing for event in events):
            _refuse(
                "an event without enable_timing",
                "two that take the time",
                "Both events must be created with argument 'enable_timing=True'.",
            )
        if not all(event.device is not None for event in events):
            _refuse(
                "an event that was not recorded",
                "two that were",
                "Both events must be recorded before calculating elapsed time.",
            )
        if not all(event.query() for event in events):
            _refuse(
                "an event that work still comes before",
                "two that are past",
                "Both events must be completed before calculating elapsed time. Use "
                "end_event.synchronize().",
            )
        return driver.current().elapsed(self._raw, end_event._raw)

    def __repr__(self) -> str:
        if self.device is None:
            return "<torch.cuda.Event uninitialized>"
        return f"<torch.cuda.Event device={self.device}>"


def _refuse(got: str, expected: str, do: str) -> None:
    raise EventError(message("cuda.Event.elapsed_time", got, expected, do))
