"""Whose a campaign is: several people may share a database, and each changes what is theirs.

A campaign belongs to the user who submitted it first, by its name. This guards against mistakes and no more: whoever
may write to the database may change everything in it.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..campaign.yaml import InputError
from ..database.account import is_mine
from ..database.documents import Documents


def refuse_foreign_name(documents: Documents, campaign: str, yes: bool) -> None:
    """Refuse to add to somebody else's campaign that happens to have this name, unless it is meant.

    Raises
    ------
    InputError
        If it is somebody else's.
    """
    owner = documents.owners().get(campaign)
    if not is_mine(owner) and not yes:
        raise InputError(
            f"campaign {campaign} in this database is {owner}'s: give yours another name (`campaign:` in its file), "
            "or say --yes to add to theirs. Calculations that are the same are shared either way."
        )


def refuse_foreign(documents: Documents, identifiers: Iterable[str], campaign: str | None, yes: bool) -> None:
    """Refuse to change calculations of somebody else's campaigns, unless a campaign is named and it is meant.

    Raises
    ------
    InputError
        If any is somebody else's.
    """
    changed, owners = set(identifiers), documents.owners()
    theirs = {
        entry.campaign: owners[entry.campaign]
        for entry in documents.entries()
        if not is_mine(owners.get(entry.campaign)) and changed & set(entry.ids)
    }
    if theirs and not (campaign is not None and yes):
        named = ", ".join(f"{name} ({owner}'s)" for name, owner in theirs.items())
        raise InputError(
            f"this changes calculations of {named}: say which campaign you mean with --campaign, and --yes."
        )
