"""Keeping jobs in the queue for days: a scheduler or a database that does not answer is told once, and waited for."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from pymongo.errors import ConnectionFailure

from ...errors import SodiateError
from .queue import Queue, queue_once
from .scheduler import NoAnswer

_LONGEST_WAIT_S = 600.0
_PATIENCE_S = 3600.0

Tell = Callable[[str], None]


@dataclass
class Patience:
    """Waits longer each time that somebody does not answer, and gives up after an hour.

    Attributes
    ----------
    every_s
        The first wait, in seconds.
    tell
        Is given a sentence when it begins, and one when it is over.
    pause
        Waits for some seconds.
    clock
        Seconds that only grow.
    """

    every_s: float
    tell: Tell
    pause: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    _since: float | None = field(default=None, init=False)
    _failures: int = field(default=0, init=False)
    _told: set[str] = field(default_factory=set, init=False)

    def failed(self, who: str, what: str) -> None:
        """Wait after a failure of somebody, who is told of once.

        Raises
        ------
        SodiateError
            If nothing was answered for an hour.
        """
        sentence = f"{who} does not answer: {what.rstrip('.')}."
        if self._since is None:
            self._since = self.clock()
        elif self.clock() - self._since > _PATIENCE_S:
            raise SodiateError(f"given up after an hour: {sentence}")
        if who not in self._told:
            self._told.add(who)
            self.tell(f"{sentence} Looking again, for an hour; jobs in the queue go on meanwhile.")
        self.pause(min(self.every_s * 2**self._failures, _LONGEST_WAIT_S))
        self._failures = min(self._failures + 1, 20)

    def answered(self) -> None:
        """Begin anew after an answer."""
        if self._since is not None:
            self.tell(f"Answered again after {self.clock() - self._since:.0f} s.")
        self._since, self._failures = None, 0
        self._told.clear()


@dataclass(frozen=True)
class Summary:
    """How many of the calculations are in which state, and the labels of those that failed."""

    counts: dict[str, int]
    failed: tuple[str, ...]


def keep(
    queue: Queue,
    once: bool,
    every_s: float,
    tell: Tell,
    complain: Tell,
    pause: Callable[[float], None] = time.sleep,
) -> Summary:
    """Look at the queue until everything is recorded, failed or cancelled, or once.

    Parameters
    ----------
    queue
        What to keep.
    once
        Look once, and wait for nobody who does not answer.
    every_s
        Seconds between two looks.
    tell, complain
        Take a line for each new job, and one for what does not work.
    pause
        Waits for some seconds.

    Raises
    ------
    SodiateError
        If the scheduler refuses, or somebody did not answer for an hour.
    """
    patience = Patience(every_s, complain, pause)
    complaint, complain_once = None, _each_once(complain)
    while True:
        try:
            done = queue_once(queue, complain_once)
            for job in done.jobs:
                tell(f"job {job.number}: {job.label}")
            if done.complaint is not None and done.complaint != complaint:
                complain(f"{done.complaint.rstrip('.')}. No more jobs are submitted until the next look.")
            complaint = done.complaint
            summary = summary_of(queue) if once or not queue.is_going_on() else None
            patience.answered()
        except NoAnswer as error:
            if once:
                raise
            patience.failed("The scheduler", str(error))
            continue
        except ConnectionFailure as error:  # pymongo adds its timeouts and its view of the servers to the reason
            if once:
                raise
            patience.failed("MongoDB", str(error).split(" (configured timeouts")[0].split(", Timeout:")[0])
            continue
        if summary is not None:
            return summary
        pause(every_s)


def _each_once(tell: Tell) -> Tell:
    """Return what tells a sentence that was not told before."""
    told = set[str]()

    def tell_new(sentence: str) -> None:
        if sentence not in told:
            told.add(sentence)
            tell(sentence)

    return tell_new


def summary_of(queue: Queue) -> Summary:
    """Return what became of the calculations of a queue."""
    documents, identifiers = queue.bench.documents, queue.calculations()
    reasons = queue.bench.standing(identifiers).reasons
    cancelled = documents.cancelled(identifiers)
    words = {i: "cancelled" if i in cancelled else _word(reasons.get(i)) for i in identifiers}
    failed = [identifier for identifier, word in words.items() if word == "failed"]
    labels = documents.labels(failed)
    return Summary(dict(Counter(words.values())), tuple(labels[identifier] for identifier in failed))


def _word(reason: str | None) -> str:
    if reason is None:
        return "recorded"
    return "failed" if reason.startswith("failed") else "not recorded"
