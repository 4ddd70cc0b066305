"""What tests share: campaigns, commands, engines under test, stand-ins for schedulers and for VASP."""

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
DATA = CHECKOUT / "tests" / "data"
DOCS = CHECKOUT / "docs"
