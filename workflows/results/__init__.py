"""Results: records evaluated and shown as tables, files, figures, archives, pages and supplements.

Imports `quantities`, `engines`, `database`, `campaign`, and `analysis`.
"""
