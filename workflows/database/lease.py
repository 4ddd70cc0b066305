"""The lease that guards a calculation: a single owner, expiry on the server's clock, and a token that only grows.

The lease is part of the calculation's document, so that claiming, renewing and publishing are each an atomic update.
An owner in this process table that has ended loses its lease at once; an owner elsewhere loses it when it expires.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from ...errors import SodiateError
from ..stop import Stop, meanwhile


class LeaseHeld(SodiateError):
    """Another live process works on the calculation."""


class Cancelled(SodiateError):
    """The user took the calculation out of the queue."""


class LeaseLost(SodiateError):
    """Another process took over the calculation; this process must not write."""


@dataclass(frozen=True)
class Owner:
    """A process; or a job that reaches no database, whose lease is renewed for it: its cluster, no process, its tag.

    Attributes
    ----------
    host
        Of the machine, for messages: two containers, or two nodes, may have one name.
    pid
        Its number in its process table.
    start
        Its start on the kernel's clock, since numbers are used again.
    table
        The process table: a boot of a machine, and a PID namespace. "" if that is not known.
    """

    host: str
    pid: int
    start: str
    table: str = ""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}" if self.pid else f"the offline job {self.start} ({self.host})"

    @classmethod
    def here(cls) -> Owner:
        """Return this process."""
        return cls(socket.gethostname(), os.getpid(), _start_of("self"), process_table())

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Owner:
        """Return the owner that a document names; those of older releases name no process table."""
        return cls(document["host"], document["pid"], document["start"], document.get("table", ""))

    @classmethod
    def of_job(cls, cluster: str | None, tag: str) -> Owner:
        """Return a job that reaches no database."""
        return cls(f"cluster {cluster}" if cluster else "a cluster", 0, tag)

    def is_gone(self) -> bool:
        """Tell whether the process has certainly ended; False for one of another process table."""
        if not self.table or self.table != process_table():
            return False
        return _start_of(self.pid) not in (self.start, _HIDDEN)


_HIDDEN = "hidden"
"""The start of somebody else's process where the system shows a user none but its own (hidepid)."""


def process_table() -> str:
    """Return what tells this process's table of processes from every other; "" if that cannot be told."""
    proc = Path("/proc")
    try:
        boot = (proc / "sys/kernel/random/boot_id").read_text().strip()
        # A /proc of the namespace outside has other numbers for the processes in this one.
        is_own = (proc / "self").readlink().name == str(os.getpid())
        return f"{boot} {(proc / 'self/ns/pid').readlink()}" if is_own else ""
    except OSError:  # no Linux: a machine has one table
        return "" if (proc / "self").exists() else socket.gethostname()


def _start_of(pid: int | str) -> str:
    """Return the start time of a process in clock ticks, ``"running"`` without /proc, ``""`` if it has ended."""
    try:
        values = (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()
        return "" if values[0] in "ZX" else values[19]  # a zombie has ended, whether its parent has noticed or not
    except (OSError, IndexError):
        pass
    has_proc = Path("/proc/self/stat").exists()
    try:
        os.kill(os.getpid() if pid == "self" else int(pid), 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        return _HIDDEN if has_proc else "running"
    return "" if has_proc else "running"


@dataclass(frozen=True)
class Lease:
    """The right to work on a calculation and to write its record.

    Attributes
    ----------
    calculation
        Its id.
    token
        Grows with each claim.
    since
        When it was claimed, on the server's clock.
    document
        The calculation's document as it was claimed.
    """

    calculation: str
    token: int
    since: datetime
    document: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    _claimed: float = field(default_factory=monotonic, compare=False, repr=False)

    def now(self) -> datetime:
        """Return the present time on the server's clock, by the seconds since the claim; no clock here counts."""
        return self.since + timedelta(seconds=monotonic() - self._claimed)


class Leases:
    """Leases on the documents of the ``calculations`` collection.

    Parameters
    ----------
    calculations
        The pymongo collection.
    seconds
        How long a lease lives without a heartbeat.
    """

    def __init__(self, calculations: Any, seconds: float = 120.0) -> None:
        self.calculations = calculations
        self.seconds = seconds

    def claim(self, calculation: str, owner: Owner) -> Lease:
        """Take a free, expired or orphaned lease.

        Raises
        ------
        LeaseHeld
            If its owner is alive.
        Cancelled
            If the user took the calculation out of the queue.
        """
        free: list[dict[str, Any]] = [{"lease": None}, {"$expr": {"$lt": ["$lease.expires", "$$NOW"]}}]
        while True:
            update = self.calculations.find_one_and_update(
                {"_id": calculation, "cancelled": {"$ne": True}, "$or": free},
                [{"$set": {"token": {"$add": [{"$ifNull": ["$token", 0]}, 1]}}}, self._heartbeat_of(owner)],
                return_document=True,
            )
            if update is not None:
                since = update["lease"]["heartbeat"].replace(tzinfo=UTC)
                return Lease(calculation, update["token"], since, update)
            document = self.calculations.find_one({"_id": calculation})
            if document is None:
                raise SodiateError(f"no calculation {calculation} in the database.")
            if document.get("cancelled"):
                raise Cancelled(f"{document['label']} ({calculation}) was cancelled; `sodiate run` queues it again.")
            lease = document.get("lease")
            if lease is None:
                continue
            holder = Owner.of(lease)
            if not holder.is_gone():
                raise LeaseHeld(
                    f"{document['label']} ({calculation}) is being computed by {holder}; its lease runs until "
                    f"{lease['expires']:%Y-%m-%d %H:%M:%S} UTC."
                )
            free = [*free, {"token": document["token"]}]

    def _heartbeat_of(self, owner: Owner) -> dict[str, Any]:
        expires = {"$add": ["$$NOW", int(self.seconds * 1000)]}
        return {
            "$set": {
                # A text of the table's kind could be taken for an expression.
                "lease": {
                    **{key: {"$literal": value} for key, value in asdict(owner).items()},
                    "heartbeat": "$$NOW",
                    "expires": expires,
                }
            }
        }

    def renew(self, lease: Lease, owner: Owner) -> bool:
        """Extend a lease; return False if it is lost or the calculation was cancelled."""
        update = self.calculations.update_one(
            {
                "_id": lease.calculation,
                "token": lease.token,
                "lease": {"$ne": None},
                "cancelled": {"$ne": True},
            },
            [self._heartbeat_of(owner)],
        )
        return bool(update.matched_count)

    def take_up(self, lease: Lease, owner: Owner) -> bool:
        """Extend a lease also if it has expired; return False if another process took it since."""
        query = {"_id": lease.calculation, "token": lease.token}
        return bool(self.calculations.update_one(query, [self._heartbeat_of(owner)]).matched_count)

    def holder(self, calculation: str) -> Owner | None:
        """Return who holds the lease, or held it last and has not ended it."""
        lease = (self.calculations.find_one({"_id": calculation}, {"lease": 1}) or {}).get("lease")
        return None if lease is None else Owner.of(lease)

    def is_alive(self, calculation: str) -> bool:
        """Tell whether a live process holds the lease; clear the lease of a dead process, but for its last sign."""
        live = {"_id": calculation, "$expr": {"$gt": ["$lease.expires", "$$NOW"]}}
        document = self.calculations.find_one({"_id": calculation}, {"lease": 1, "token": 1})
        lease = (document or {}).get("lease")
        if lease is None:
            return False
        is_valid = self.calculations.find_one(live | {"token": document["token"]}, {"_id": 1}) is not None
        if is_valid and not Owner.of(lease).is_gone():
            return True
        update = self.calculations.update_one(
            {"_id": calculation, "token": document["token"], "lease.expires": lease["expires"]},
            {"$unset": {"lease": ""}, "$set": {"last_heartbeat": lease.get("heartbeat")}},
        )
        return not update.matched_count  # no match if another process claimed it meanwhile

    def release(self, lease: Lease) -> None:
        """Release a lease; do nothing if it is lost."""
        self.calculations.update_one({"_id": lease.calculation, "token": lease.token}, {"$unset": {"lease": ""}})

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """Hold a lease during a block; wait while another process holds it."""
        owner = Owner.here()
        while True:
            try:
                lease = self.claim(name, owner)
                break
            except LeaseHeld:
                sleep(0.1)
        try:
            with self.heartbeat(lease, owner, Stop()):
                yield
        finally:
            self.release(lease)

    @contextmanager
    def heartbeat(self, lease: Lease, owner: Owner, stop: Stop) -> Iterator[None]:
        """Renew a lease while the block runs, and request a stop once it is lost."""
        from pymongo.errors import PyMongoError

        last = monotonic()

        def beat() -> bool:
            nonlocal last
            try:
                is_held = self.renew(lease, owner)
            except PyMongoError as error:  # the network may fail for a moment; the lease stays valid meanwhile
                if monotonic() - last > self.seconds * 2 / 3:
                    stop.request(f"the database could not be reached to renew the lease: {error}", error=error)
                    return True
                return False
            if not is_held:
                stop.request("the lease was lost to another process, or the calculation was cancelled")
                return True
            last = monotonic()
            return False

        with meanwhile(beat, self.seconds / 6, "lease"):
            yield
