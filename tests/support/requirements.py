"""What a test does where its server or code is missing."""

from __future__ import annotations

import os

import pytest


def skip_unless_required(reason: str) -> None:
    """Skip a test whose server or code is missing; under SODIATE_REQUIRE_ALL=1 that is a failure."""
    if os.environ.get("SODIATE_REQUIRE_ALL") == "1":
        pytest.fail(f"SODIATE_REQUIRE_ALL=1: {reason}")
    pytest.skip(reason)
