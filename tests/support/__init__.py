"""What tests share: campaigns, commands, engines under test, stand-ins for schedulers and for VASP."""

from pathlib import Path
from typing import TypeVar

CHECKOUT = Path(__file__).resolve().parents[2]
DATA = CHECKOUT / "tests" / "data"
DOCS = CHECKOUT / "docs"

T = TypeVar("T")


def present(value: T | None) -> T:
    """Return a value that must be there."""
    assert value is not None
    return value
