"""From records to adsorption energies, gaps, DOS and figures: pure functions and the types of what is stored.

Imports neither `workflows` nor `structures`, FireWorks, a database or an engine. Both sides share `records`, `arrays`
and `campaign_entry`.
"""
