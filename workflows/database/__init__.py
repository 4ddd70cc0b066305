"""MongoDB: private servers, connections, our collections, leases, and which records may be used.

Imports `campaign`, `calculation`, the kinds, and the records of `analysis`.
"""
