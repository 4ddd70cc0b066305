"""FireWorks: the one task, a plan as a workflow, the loop that launches, and states that follow the records.

Imports `runner`, `plan`, `database` and what lies below them. Launchpads hold the names
``sodiate.workflows.launch.RunCalculation`` and ``…SameCalculation``, so both are handed on here.
"""

from .tasks import RunCalculation, SameCalculation

__all__ = ["RunCalculation", "SameCalculation"]
