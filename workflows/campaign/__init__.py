"""The campaign and its files: YAML read and validated, protocols, structure files.

Imports `structures`, the records of `analysis`, and the kinds of calculations.
"""
