"""The lease that guards a calculation: one owner at a time, on the server's clock, with a token that only grows.

A lease is held on the calculation's own document, so that taking, renewing and publishing are each one atomic
update. An owner on this machine whose process is gone has lost its lease at once; any other one when it expires.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

from .. import SodiateError
from .engines.base import Stop


class LeaseHeld(SodiateError):
    """Another live process works on the calculation."""


class LeaseLost(SodiateError):
    """Another process took over the calculation; this one may not write."""


@dataclass(frozen=True)
class Owner:
    """A process: host, process id, and its start on the kernel's clock, since process ids come again."""

    host: str
    pid: int
    start: str

    @classmethod
    def here(cls) -> Owner:
        """Return this process."""
        return cls(socket.gethostname(), os.getpid(), _start_of(os.getpid()))

    def is_gone(self) -> bool:
        """Tell whether the process surely no longer runs; False for one on another machine."""
        return self.host == socket.gethostname() and _start_of(self.pid) != self.start


def _start_of(pid: int) -> str:
    """Return the start time of a process in clock ticks, ``""`` if there is none (or, without /proc, unknown)."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        pass
    if Path("/proc/self/stat").exists():
        return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "running"


@dataclass(frozen=True)
class Lease:
    """The right to work on a calculation and to write its record."""

    calculation: str
    token: int


class Leases:
    """Leases on the documents of the ``calculations`` collection.

    Parameters
    ----------
    calculations
        The pymongo collection.
    seconds
        How long a lease lives without a sign of life.
    """

    def __init__(self, calculations: Any, seconds: float = 120.0) -> None:
        self.calculations = calculations
        self.seconds = seconds

    def claim(self, calculation: str, owner: Owner) -> Lease:
        """Take a free, expired or orphaned lease.

        Raises
        ------
        LeaseHeld
            If its owner lives.
        """
        free: list[dict[str, Any]] = [{"lease": None}, {"$expr": {"$lt": ["$lease.expires", "$$NOW"]}}]
        while True:
            taken = self.calculations.find_one_and_update(
                {"_id": calculation, "$or": free},
                [{"$set": {"token": {"$add": [{"$ifNull": ["$token", 0]}, 1]}}}, self._lived(owner)],
                return_document=True,
            )
            if taken is not None:
                return Lease(calculation, taken["token"])
            found = self.calculations.find_one({"_id": calculation}, {"lease": 1, "token": 1, "label": 1})
            lease = found.get("lease")
            if lease is None:
                continue
            holder = Owner(lease["host"], lease["pid"], lease["start"])
            if not holder.is_gone():
                raise LeaseHeld(
                    f"{found['label']} ({calculation}) is being computed by process {holder.pid} on {holder.host}; "
                    f"its lease runs until {lease['expires']:%Y-%m-%d %H:%M:%S} UTC."
                )
            free = [*free, {"token": found["token"]}]

    def _lived(self, owner: Owner) -> dict[str, Any]:
        expires = {"$add": ["$$NOW", int(self.seconds * 1000)]}
        return {
            "$set": {
                "lease": {
                    "host": owner.host,
                    "pid": owner.pid,
                    "start": owner.start,
                    "heartbeat": "$$NOW",
                    "expires": expires,
                }
            }
        }

    def renew(self, lease: Lease, owner: Owner) -> bool:
        """Show a sign of life; False if the lease is lost or the calculation was cancelled."""
        found = self.calculations.update_one(
            {
                "_id": lease.calculation,
                "token": lease.token,
                "lease": {"$ne": None},
                "cancelled": {"$ne": True},
            },
            [self._lived(owner)],
        )
        return bool(found.matched_count)

    def release(self, lease: Lease) -> None:
        """Give the lease back; nothing happens if it is lost."""
        self.calculations.update_one({"_id": lease.calculation, "token": lease.token}, {"$unset": {"lease": ""}})

    @contextmanager
    def heartbeat(self, lease: Lease, owner: Owner, stop: Stop) -> Iterator[None]:
        """Renew a lease while the block runs, and ask the run to end once it is lost."""
        done = Event()

        def beat() -> None:
            while not done.wait(self.seconds / 6):
                if not self.renew(lease, owner):
                    stop.request("the lease was lost to another process, or the calculation was cancelled")
                    return

        thread = Thread(target=beat, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
