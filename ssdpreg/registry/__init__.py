"""The registry of live services: receives SSDP messages, searches, and publishes registrations to listeners."""

from ssdpreg.registry.lifetimes import LifetimeRecorder
from ssdpreg.registry.live import LiveRegistrations
from ssdpreg.registry.service import Registry

__all__ = ["LifetimeRecorder", "LiveRegistrations", "Registry"]
