"""Clusters: the cluster file, schedulers behind one contract, the queue, and the worker in a job.

Imports every room below: `launch`, `runner`, `engines`, `database`, `campaign`.
"""
