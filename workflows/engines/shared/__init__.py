"""What engines share: files that are whole or absent, checks, grids, processes, relaxations.

Imports the contract of engines, nothing of a single code.
"""
