"""Tests for :mod:`ssdpreg.cli.ansible_inventory`."""

from __future__ import annotations

import json
from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from ssdpreg.cli import ansible_inventory
from ssdpreg.cli import reactor as reactor_module
from ssdpreg.cli.ansible_inventory import group_name, host_name, make_inventory
from ssdpreg.cli.reader import Service
from tests.support.command import CommandTestCase

META = {
    "external-source": "ssdpreg",
    "ssdpreg-scope": "rack-7",
    "ssdp-device": "DEV-1",
    "ssdp-location": "http://10.0.0.5:8080/",
    "ssdp-server": "BMC/1 {{ 6 * 7 }}",
    "ssdp-max-age": "1800",
    "ssdp-friendly-name": "Rack 7",
    "redfish-vendor": "ACME",
    "other": "not a fact",
    "ssdp-serial": "",
}


def service(
    name: str = "RackHD-service:api:2.0", device: str = "DEV-1", address: str = "10.0.0.5", port: int = 8080
) -> Service:
    """Return a registered service."""
    key = ("node", f"ssdpreg-{name}-{device}")
    return Service(key, name, device, address, port, ("lab",), "passing", f"http://{address}:{port}/", META)


class NamesTests(CommandTestCase):
    """Tests for the names of groups and hosts."""

    def test_groups(self) -> None:
        """A group is the service name in the characters that Ansible accepts, and is no reserved name."""
        for name, group in (
            ("RackHD-service:api:2.0", "RackHD_service_api_2_0"),
            ("rackhd-service-api-2-0", "rackhd_service_api_2_0"),
            ("7up", "ssdp_7up"),
            ("", "ssdp_"),
            ("all", "ssdp_all"),
            ("Gerät\n{{x}}", "Ger_t___x__"),
        ):
            self.assertEqual(group_name(name), group)

    def test_hosts(self) -> None:
        """A host is the device ID in lower case, because it is case-insensitive, or a digest of it."""
        self.assertEqual(host_name("2A35AF60-74f7"), "2a35af60-74f7")
        for device in ("a b", "-x", "[1:3]", "a:b", "{{ 6 * 7 }}", "", "x" * 256, "a\n"):
            self.assertRegex(host_name(device), r"^device-[0-9a-f]{16}$")
        self.assertEqual(host_name("A B"), host_name("a b"))
        self.assertNotEqual(host_name("a b"), host_name("a c"))

    def test_names_with_a_meaning(self) -> None:
        """A device cannot have the name of the controller, of an address, or of a group."""
        for device in ("all", "Ungrouped", "_meta", "LocalHost", "127.0.0.1", "10.1", "::1", "bmc_SERVICE_x"):
            self.assertRegex(host_name(device, {"bmc_service_x"}), r"^device-[0-9a-f]{16}$", device)
        for device in ("1", "10.0.0.5a", "localhost2"):
            self.assertEqual(host_name(device), device)


class InventoryTests(CommandTestCase):
    """Tests for :func:`make_inventory`."""

    def test_document(self) -> None:
        """A host has the variables of its first service, and a list of all of its services."""
        variables = {
            "ssdp_address": "10.0.0.5",
            "ssdp_port": 8080,
            "ssdp_location": "http://10.0.0.5:8080/",
            "ssdp_health": "passing",
            "ssdp_tags": ["lab"],
            "ssdp_max_age": 1800,
            "redfish_vendor": "ACME",
            "ssdp_friendly_name": "Rack 7",
            "ssdp_server": {"__ansible_unsafe": "BMC/1 {{ 6 * 7 }}"},
            "ssdpreg_scope": "rack-7",
        }
        listed = {"ssdp_service": "RackHD-service:api:2.0", "ssdp_group": "RackHD_service_api_2_0", **variables}
        self.assertEqual(
            make_inventory([service()]),
            {
                "_meta": {
                    "hostvars": {
                        "dev-1": {
                            "ansible_host": "10.0.0.5",
                            "ssdp_device": "DEV-1",
                            **variables,
                            "ssdp_services": [listed],
                        }
                    }
                },
                "RackHD_service_api_2_0": {"hosts": ["dev-1"]},
            },
        )

    def test_several_services(self) -> None:
        """A device with several services is one host in several groups."""
        inventory = make_inventory([service("b:x"), service("a:x", port=99), service("a:x", "dev-0")])
        self.assertEqual(inventory["a_x"], {"hosts": ["dev-0", "dev-1"]})
        self.assertEqual(inventory["b_x"], {"hosts": ["dev-1"]})
        host = inventory["_meta"]["hostvars"]["dev-1"]
        self.assertEqual(host["ssdp_port"], 99)
        self.assertEqual([each["ssdp_port"] for each in host["ssdp_services"]], [99, 8080])

    def test_device_with_the_name_of_a_group(self) -> None:
        """A device whose ID is the name of a group, in any case, is not a host of that name."""
        inventory = make_inventory([service("BMC-x"), service("a:x", "bmc_X")])
        self.assertEqual(inventory["BMC_x"], {"hosts": ["dev-1"]})
        self.assertRegex(inventory["a_x"]["hosts"][0], "^device-")
        self.assertEqual(len(inventory["_meta"]["hostvars"]), 2)

    def test_stable(self) -> None:
        """The output does not depend on the order of the services."""
        services = [service(name, device) for name in ("b:x", "a:x") for device in ("d2", "D1", "d3")]
        self.assertEqual(
            json.dumps(make_inventory(services)), json.dumps(make_inventory(sorted(services, key=lambda s: s.device)))
        )

    def test_hostile_addresses(self) -> None:
        """An address that ssh could read as an option is no address to connect to, and no template."""
        for address in ("-oProxyCommand=reboot", "a b", "{{ 6 * 7 }}", "", "a\n"):
            host = make_inventory([service(address=address)])["_meta"]["hostvars"]["dev-1"]
            self.assertNotIn("ansible_host", host)
        for address in ("10.0.0.5", "2001:db8::5", "fe80::5%eth0", "bmc.example"):
            host = make_inventory([service(address=address)])["_meta"]["hostvars"]["dev-1"]
            self.assertEqual(host["ansible_host"], address)

    def test_templates(self) -> None:
        """Each text of the network that could be a template is marked as unsafe."""
        for text in ("{{ x }}", "{% if x %}", "{# x #}", "a}}b"):
            printed = json.dumps(make_inventory([service(f"n{text}", f"d{text}", f"a{text}")]))
            marked = printed.count("__ansible_unsafe")
            # The name once, the device once, and address and location of the host and of its service; two servers.
            self.assertEqual(marked, 1 + 1 + 4 + 2, printed)


class FakeReader:
    """Client of a server in memory."""

    async def services(self) -> Sequence[Service]:
        return [service()]


class PrintTests(CommandTestCase):
    """Tests for :func:`ansible_inventory.print_inventory`."""

    def print(self, *argv: str) -> tuple[int, str, str]:
        """Run the subcommand without a reactor."""
        self.patch(ansible_inventory, "make_reader", lambda *_: FakeReader())
        self.patch(
            reactor_module,
            "run_on_reactor",
            lambda command: self.successResultOf(Deferred.fromCoroutine(command(Clock()))),
        )
        return self.run_command("inventory", *argv)

    def test_list(self) -> None:
        """``--list`` is the default."""
        status, stdout, _ = self.print("--list")
        self.assertEqual((status, json.loads(stdout)), (0, make_inventory([service()])))
        self.assertEqual(self.print(), (status, stdout, ""))

    def test_host(self) -> None:
        """``--host`` prints the variables of one host."""
        status, stdout, _ = self.print("--host", "dev-1")
        self.assertEqual((status, json.loads(stdout)), (0, make_inventory([service()])["_meta"]["hostvars"]["dev-1"]))

    def test_unknown_host(self) -> None:
        """An unknown host is an error."""
        self.assertEqual(self.print("--host", "x\x1b"), (1, "", "No host 'x\\x1b' at http://127.0.0.1:8580.\n"))

    def test_usage(self) -> None:
        """``--list`` and ``--host`` exclude each other."""
        self.assertEqual(self.print("--list", "--host", "x")[0], 2)
