"""Helpers shared by tests: hosts in network namespaces, a real Consul, a browser, programs, and a daemon in memory."""
