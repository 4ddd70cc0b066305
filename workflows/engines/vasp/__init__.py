"""VASP: its inputs and tags, its stages under custodian, its results, and runs that somebody else made.

Imports the contract of engines and what engines share.
"""
