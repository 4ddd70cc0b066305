"""From a campaign to its plan: the graph of calculations, known before anything runs, and its preview as files.

Imports `quantities`, `engines`, `campaign` and the modules below them; re-exports `plan`.
"""

from .planner import plan

__all__ = ["plan"]
