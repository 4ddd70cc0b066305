"""Atoms in, atoms out: hosts, vacancies and Na sites; no file, database or engine."""
