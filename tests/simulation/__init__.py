"""
Simulation of the daemon: its real parts on a simulated clock, network and Consul, with faults and attackers.

One seed draws everything, so the same seed gives the same run. Invariants are checked all the time: see
:mod:`tests.simulation.bounds`. ``python -m tests.simulation --hours 24 --seed 1`` runs it.
"""
