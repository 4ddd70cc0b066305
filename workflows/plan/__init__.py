"""From a campaign to its plan: the graph of calculations, known before anything runs, and its files to look at.

Imports `quantities`, `engines`, `campaign` and what lies below them; `plan` itself is handed on here.
"""

from .planner import plan

__all__ = ["plan"]
