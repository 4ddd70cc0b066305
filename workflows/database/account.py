"""Who computes, and where: the user, the cluster, and the job."""

from __future__ import annotations

import getpass
import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Account:
    """A user on a machine, or on a cluster.

    Attributes
    ----------
    user
        The name of the account.
    cluster
        The name of the cluster; None outside one.
    job
        The job's tag; None outside one.
    """

    user: str
    cluster: str | None = None
    job: str | None = None

    @classmethod
    def here(cls, cluster: str | None = None, job: str | None = None) -> Account:
        """Return the account of this process."""
        return cls(user_name(), cluster, job)


def user_name() -> str:
    """Return the name of this process's user; its number where no name is known."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a container, whose users have no names
        return str(os.getuid())


def is_mine(owner: str | None) -> bool:
    """Tell whether what has this owner is this user's; what has none is everybody's."""
    return owner in (None, user_name())
