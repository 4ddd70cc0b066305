"""Energy differences: what may be subtracted, what is stale, adsorption and formation energies, the published values.

Imports the records of `analysis` and its arrays, nothing else of sodiate.
"""
