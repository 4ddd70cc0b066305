"""Figures drawn with matplotlib, in one style.

Imports the records and arrays of `analysis`, and `analysis.electrons`.
"""
