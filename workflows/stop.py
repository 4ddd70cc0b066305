"""A request to stop cleanly: from a signal, a time limit or a lost lease, and what looks for one meanwhile."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread


class Stop:
    """A request to end a run cleanly, set from a signal handler or a thread and read between steps.

    Parameters
    ----------
    above
        A request that this one follows: a worker's request ends its calculation, not the other way round.
    """

    def __init__(self, above: Stop | None = None) -> None:
        self._event = Event()
        self._above = above
        self.reason = ""
        self.seconds: float | None = None
        self.error: Exception | None = None

    def request(self, reason: str, seconds: float | None = None, error: Exception | None = None) -> None:
        """Ask the run to end, within some seconds if that is known; the first reason stays.

        With an error, the run cannot go on: it ends with that one.
        """
        if not self._event.is_set():
            self.reason, self.seconds, self.error = reason, seconds, error
            self._event.set()

    def requested(self) -> bool:
        """Tell whether the run was asked to end."""
        if self._above is not None and self._above.requested():
            self.request(self._above.reason, self._above.seconds, self._above.error)
        return self._event.is_set()


@contextmanager
def meanwhile(act: Callable[[], bool], every_s: float, name: str) -> Iterator[None]:
    """Act again and again while the block runs, in a thread of a name, until it returns True: then it is done.

    The block ends after an act that is under way.
    """
    end = Event()

    def go_on() -> None:
        while not end.wait(every_s) and not act():
            pass

    thread = Thread(target=go_on, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


@contextmanager
def signals_stop(stop: Stop, more: Sequence[signal.Signals] = (), seconds: float | None = None) -> Iterator[None]:
    """Turn SIGINT, SIGTERM and others into a request to stop cleanly; the second signal ends the process.

    The others say that the end comes in some seconds.
    """
    previous = {}
    asked: list[int] = []

    def ask(number: int, _frame: object) -> None:
        if asked:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        asked.append(number)
        stop.request(signal.Signals(number).name, seconds if number in more else None)

    for number in (signal.SIGINT, signal.SIGTERM, *more):
        previous[number] = signal.signal(number, ask)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
