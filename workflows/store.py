"""The import path of `Results` in older scripts: ``from sodiate.workflows.store import Results``."""

from .results.results import Finished, Results

__all__ = ["Finished", "Results"]
