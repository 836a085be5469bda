"""Registrations of live services: names, IDs, Meta, checks, and plans of changes to a backend. Pure."""

from ssdpreg.registration.announced import CheckRule
from ssdpreg.registration.meta import SOURCE
from ssdpreg.registration.model import Check, Outcome, Plan, Registration
from ssdpreg.registration.rules import ID_PREFIX, RegistrationRules

__all__ = ["ID_PREFIX", "SOURCE", "Check", "CheckRule", "Outcome", "Plan", "Registration", "RegistrationRules"]
