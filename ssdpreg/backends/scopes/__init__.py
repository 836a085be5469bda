"""Scopes of daemons in catalog mode: the lock that decides which daemon writes, and the removal of dead scopes."""
