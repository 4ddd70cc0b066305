"""From a campaign to records and results: each room imports only rooms below it, in the order of `test_layout`.

From the top: the command line (`cli`), one run (`run`), `clusters`, `results`, `launch` (FireWorks), `runner` (one
calculation), `plan`, `quantities`, `engines`, `database`, `campaign`; below them the modules that all share: start
structures, the calculation, its kinds, the stop request. Imports `structures` and `analysis`.
"""
