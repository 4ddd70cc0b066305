"""Telling a database that went away from everything else that can fail."""

from __future__ import annotations

from pymongo.errors import AutoReconnect, ConnectionFailure, OperationFailure

from .room import causes

_NO_RETRY = 20
"""What a standalone server answers where pymongo repeats a write whose connection was dropped."""


def outage_of(error: BaseException) -> ConnectionFailure | None:
    """Return the error of a database that could not be reached if a failure comes from that; None otherwise."""
    for cause in causes(error):
        if isinstance(cause, ConnectionFailure):
            return cause
        if isinstance(cause, OperationFailure) and cause.code == _NO_RETRY:
            return AutoReconnect("the connection was dropped")
    return None
