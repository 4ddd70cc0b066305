"""From records to adsorption energies, gaps, DOS, figures; knows no engine and no FireWorks."""
