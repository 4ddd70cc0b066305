"""Atoms in, atoms out: hosts, vacancies, orderings and adsorption sites.

Imports ASE, pymatgen and spglib; no file but those it is asked to read, no database, no engine, nothing of
`workflows` or `analysis`.
"""
