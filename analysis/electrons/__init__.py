"""What electrons tell: gaps, densities of states, band paths, levels of vacancies, charge densities.

Pure functions on arrays; imports the records and arrays of `analysis`, nothing else of sodiate.
"""
