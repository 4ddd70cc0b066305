"""The dry run: a refitted EMT potential and a small tight-binding model; mock numbers.

Imports the contract of engines, what engines share, and `structures`.
"""
