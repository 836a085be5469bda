"""Tests for :mod:`ssdpreg.cli.service_list`."""

from __future__ import annotations

import io
import json
import os
import sys
from argparse import Namespace

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.cli import service_list
from ssdpreg.cli.reader import Service

URL = "http://127.0.0.1:8580"
API = Service(("node", "A"), "api", "D\x1b", "10.0.0.5", 8080, (), "passing", "http://10.0.0.5:8080/")
LLDP = Service(("node", "B"), "lldp", "E", "2001:db8::5", 80, ("lab", "blue"), "critical", "")


class FakeReader:
    """
    Client of a server in memory.

    :param registered: Services to return.
    """

    def __init__(self, registered: list[Service]) -> None:
        self._registered = registered

    async def services(self, name: str | None = None) -> list[Service]:
        return [service for service in self._registered if name in (None, service.name)]


class PrintServicesTests(SynchronousTestCase):
    """Tests for :func:`ssdpreg.cli.service_list.print_services`."""

    def print(self, *registered: Service, name: str | None = None, as_json: bool = False) -> tuple[str, str]:
        """Print services, and return standard output and standard error."""
        stdout, stderr = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", stdout)
        self.patch(sys, "stderr", stderr)
        self.patch(service_list, "make_reader", lambda *_: FakeReader(list(registered)))
        arguments = Namespace(url=URL, name=name, json=as_json)
        status = self.successResultOf(Deferred.fromCoroutine(service_list.print_services(arguments, Clock())))
        self.assertEqual(status, 0)
        return stdout.getvalue(), stderr.getvalue()

    def test_table(self) -> None:
        """The table has no column for tags if no service has tags."""
        self.assertEqual(
            self.print(API),
            ("Service  Device  Address        Health\napi      D\\x1b   10.0.0.5:8080  passing\n", ""),
        )

    def test_tags(self) -> None:
        """The table has a column for tags if a service has tags."""
        stdout, _ = self.print(API, LLDP)
        self.assertEqual(
            [line.split() for line in stdout.splitlines()],
            [
                ["Service", "Device", "Address", "Tags", "Health"],
                ["api", "D\\x1b", "10.0.0.5:8080", "passing"],
                ["lldp", "E", "[2001:db8::5]:80", "lab,", "blue", "critical"],
            ],
        )

    def test_json(self) -> None:
        """The JSON document has the services with the given name."""
        stdout, _ = self.print(API, LLDP, name="lldp", as_json=True)
        self.assertEqual(json.loads(stdout), {"services": [LLDP.document()]})

    def test_no_service(self) -> None:
        """A message goes to standard error if there is no service to print."""
        self.assertEqual(self.print(), ("", f"No service of ssdpreg at {URL}.\n"))
        self.assertEqual(self.print(name="x"), ("", f"No service of ssdpreg at {URL} with the name 'x'.\n"))

    def test_token(self) -> None:
        """The ACL token is read from the environment."""
        self.patch(os, "environ", {"CONSUL_HTTP_TOKEN": "s3cret"})
        self.assertEqual(service_list.consul_token(), "s3cret")
