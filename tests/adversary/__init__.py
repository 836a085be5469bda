"""A random adversary: attacks on the service of one device, against the pure table of live services."""
