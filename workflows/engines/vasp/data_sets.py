"""VASP's recommended data sets by release, ``configs/paw.yaml``: for elements that a protocol does not name."""

from __future__ import annotations

from functools import lru_cache

from ....analysis.records import Frozen
from ...campaign.protocol import Element
from ...campaign.yaml import CONFIGS, load_yaml, validate


class _Recommended(Frozen):
    recommended: dict[Element, str]
    releases: dict[str, dict[Element, str]]


@lru_cache(maxsize=1)
def _table() -> _Recommended:
    path = CONFIGS / "paw.yaml"
    return validate(_Recommended, load_yaml(path, "data-set file"), f"data-set file {path}")


def recommended(release: str) -> dict[str, str]:
    """Return the recommended data set of each element in a release such as ``PBE_54``; of an unknown one, its."""
    table = _table()
    return table.recommended | table.releases.get(release.rpartition("_")[2], {})
