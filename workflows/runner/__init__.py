"""One calculation in its own directory: claim, prepare, run, collect, record.

Imports `engines`, `database`, `start_structures` and the calculation.
"""
