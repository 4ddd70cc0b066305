"""MongoDB: private servers, connections, sodiate's collections, leases, and the standing of calculations.

Imports `campaign`, `calculation`, the kinds, and the records of `analysis`.
"""
