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
from time import monotonic, sleep
from typing import Any

from ...errors import SodiateError
from ..stop import Stop


class LeaseHeld(SodiateError):
    """Another live process works on the calculation."""


class Cancelled(SodiateError):
    """The user took the calculation out of the queue."""


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
        Cancelled
            If the user took the calculation out of the queue.
        """
        free: list[dict[str, Any]] = [{"lease": None}, {"$expr": {"$lt": ["$lease.expires", "$$NOW"]}}]
        while True:
            taken = self.calculations.find_one_and_update(
                {"_id": calculation, "cancelled": {"$ne": True}, "$or": free},
                [{"$set": {"token": {"$add": [{"$ifNull": ["$token", 0]}, 1]}}}, self._lived(owner)],
                return_document=True,
            )
            if taken is not None:
                return Lease(calculation, taken["token"])
            found = self.calculations.find_one({"_id": calculation})
            if found.get("cancelled"):
                raise Cancelled(f"{found['label']} ({calculation}) was cancelled; `sodiate run` queues it again.")
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

    def is_alive(self, calculation: str) -> bool:
        """Tell whether a live process holds the lease; that of a dead one is cleared, if it is still the same."""
        live = {"_id": calculation, "$expr": {"$gt": ["$lease.expires", "$$NOW"]}}
        found = self.calculations.find_one({"_id": calculation}, {"lease": 1, "token": 1})
        lease = (found or {}).get("lease")
        if lease is None:
            return False
        held = self.calculations.find_one(live | {"token": found["token"]}, {"_id": 1}) is not None
        if held and not Owner(lease["host"], lease["pid"], lease["start"]).is_gone():
            return True
        cleared = self.calculations.update_one(
            {"_id": calculation, "token": found["token"], "lease.expires": lease["expires"]},
            {"$unset": {"lease": ""}},
        )
        return not cleared.matched_count  # somebody took it meanwhile

    def release(self, lease: Lease) -> None:
        """Give the lease back; nothing happens if it is lost."""
        self.calculations.update_one({"_id": lease.calculation, "token": lease.token}, {"$unset": {"lease": ""}})

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """Hold a lease for a moment's work, waiting for whoever has it."""
        while True:
            try:
                lease = self.claim(name, Owner.here())
                break
            except LeaseHeld:
                sleep(0.1)
        try:
            yield
        finally:
            self.release(lease)

    @contextmanager
    def heartbeat(self, lease: Lease, owner: Owner, stop: Stop) -> Iterator[None]:
        """Renew a lease while the block runs, and ask the run to end once it is lost."""
        from pymongo.errors import PyMongoError

        done = Event()

        def beat() -> None:
            last = monotonic()
            while not done.wait(self.seconds / 6):
                try:
                    held = self.renew(lease, owner)
                except PyMongoError as error:  # a network that fails for a moment; the lease lives on meanwhile
                    if monotonic() - last > self.seconds * 2 / 3:
                        stop.request(f"the database could not be reached to renew the lease: {error}")
                        return
                    continue
                if not held:
                    stop.request("the lease was lost to another process, or the calculation was cancelled")
                    return
                last = monotonic()

        thread = Thread(target=beat, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
