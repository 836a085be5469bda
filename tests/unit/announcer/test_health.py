"""Tests for :mod:`ssdpreg.announcer.health`."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import getChildForRequest
from twisted.web.test.requesthelper import DummyRequest

from ssdpreg.announcer.devices import Device
from ssdpreg.announcer.health import make_health_resource


class HealthResourceTests(SynchronousTestCase):
    """Tests for :func:`make_health_resource`."""

    def setUp(self) -> None:
        self.root = make_health_resource([Device("one", "uuid:1", (), ()), Device("two", "", (), ())])

    def test_nodes(self) -> None:
        """The path of RackHD's nodes returns a JSON list with one node per device."""
        request = DummyRequest([b"api", b"2.0", b"nodes"])
        body = getChildForRequest(self.root, request).render(request)
        self.assertEqual(json.loads(body), [{"id": "1", "name": "one"}, {"id": "", "name": "two"}])
        self.assertEqual(request.responseHeaders.getRawHeaders("Content-Type"), ["application/json"])

    def test_other_paths(self) -> None:
        """Other paths do not exist."""
        for path in ([b""], [b"api", b"2.0", b"other"]):
            request = DummyRequest(path)
            getChildForRequest(self.root, request).render(request)
            self.assertEqual(request.responseCode, 404)
