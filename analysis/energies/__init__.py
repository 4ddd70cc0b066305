"""Energy differences: which records may be subtracted, which are stale, adsorption and formation energies, the paper.

Imports the records of `analysis` and its arrays, nothing else of sodiate.
"""
