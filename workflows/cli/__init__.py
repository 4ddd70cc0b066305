"""The command line: a file for each group of commands; `commands` gathers them, `main` runs them.

Imports every room below; nothing imports it.
"""
