"""The command line: one file a group of commands; `main` gathers them.

Imports every room below; nothing imports it.
"""
