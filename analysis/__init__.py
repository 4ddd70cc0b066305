"""From records to adsorption energies, gaps, DOS and figures: pure functions and the types of what is stored.

Imports neither `workflows` nor `structures`, FireWorks, a database or an engine. `records`, `arrays` and
`campaign_entry` are what both sides share.
"""
