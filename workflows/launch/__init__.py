"""FireWorks: the task, a plan as a workflow, the loop that launches, and states that follow the records.

Imports `runner`, `plan`, `database` and the modules below them. Launchpads hold the names
``sodiate.workflows.launch.RunCalculation`` and ``…SameCalculation``, so this module re-exports both.
"""

from .tasks import RunCalculation, SameCalculation

__all__ = ["RunCalculation", "SameCalculation"]
