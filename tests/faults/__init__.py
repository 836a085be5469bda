"""
Fault matrix: the real daemon and a real Consul, with faults of Consul, of the host and of the network.

``python -m tests.faults`` runs all rows, and prints a table. See ``docs/reliability.md``.
"""
