"""The import path of `Results` in scripts of the present release: ``from sodiate.workflows.store import Results``."""

from .results.results import Finished, Results

__all__ = ["Finished", "Results"]
