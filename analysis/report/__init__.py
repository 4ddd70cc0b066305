"""The page of results: what its panels draw, and the page itself with its style and script.

Imports `analysis.electrons`, `analysis.energies` and the records and arrays of `analysis`.
"""
