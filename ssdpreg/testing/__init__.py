"""
Public helpers for tests of ssdpreg and of backends.

:class:`BackendTestsMixin` has the tests that every backend has to pass. :class:`FakeConsulAgent` is a Consul agent in
memory, and :class:`FakeConsulCatalog` a server with a catalog. :func:`make_registration` makes registrations.
"""

from ssdpreg.testing.backend_tests import BackendTestsMixin, make_registration
from ssdpreg.testing.fake_catalog import FakeConsulCatalog
from ssdpreg.testing.fake_consul import FakeConsulAgent

__all__ = ["BackendTestsMixin", "FakeConsulAgent", "FakeConsulCatalog", "make_registration"]
