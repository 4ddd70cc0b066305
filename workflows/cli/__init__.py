"""The command line: a file for each group of commands; `main` gathers them.

Imports every room below; nothing imports it.
"""
