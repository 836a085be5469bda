"""Reconciliation: makes the registrations of a backend equal to the live services, and retries after errors."""

from ssdpreg.reconciler.keep_alive import KeepAlive
from ssdpreg.reconciler.service import Reconciler
from ssdpreg.registration.differences import ServiceState

__all__ = ["KeepAlive", "Reconciler", "ServiceState"]
