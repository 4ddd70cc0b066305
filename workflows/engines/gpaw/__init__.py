"""GPAW: its inputs, its process under custodian, its results.

Imports the contract of engines and what engines share.
"""
