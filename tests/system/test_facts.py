"""Facts that devices state about themselves, with the real daemon, a real Consul, and real devices."""

from __future__ import annotations

import json
import shutil
import socket
import sys
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support import hosts, stacks
from tests.support.consul import find_consul
from tests.support.hosts import Host
from tests.support.paths import ROOT
from tests.support.programs import skip_without
from tests.support.rack import API, REDFISH, Rack, byebye, notify
from tests.support.waiting import wait_until

LLDP = "urn:schemas-upnp-org:service:lldp:0.1"
MEDIA = "urn:schemas-upnp-org:device:MediaServer:1"
GATEWAY = "urn:schemas-upnp-org:device:WANConnectionDevice:2"
DEVICE = "2a35af60-74f7-5e33-8f42-b99e5c1d15a6"
BMC = "92384634-2938-2342-8820-489239905423"

CONFIG = {
    "ssdp": {
        "tags": {"RackHD": [API, LLDP], "BMC": [REDFISH], "UPnP": [MEDIA, GATEWAY]},
        "describe": True,
        "interfaces": ["eth0"],
    }
}

#: Server of a device: description and service root, each from a file that the test can change.
_SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        print("GET", self.path, dict(self.headers), flush=True)
        name = {"/desc.xml": sys.argv[2], "/redfish/v1/": sys.argv[3]}.get(self.path)
        if name is None:
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:8500/v1/agent/self")
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(open(name, "rb").read())
    def log_message(self, *arguments):
        pass
server = ThreadingHTTPServer((sys.argv[1], 80), Handler)
print("ready", flush=True)
server.serve_forever()
"""

_DESCRIPTION = """<?xml version="1.0"?>
<root xmlns="urn:schemas-upnp-org:device-1-0"><device>
<friendlyName>Rack controller &lt;7&gt;</friendlyName><manufacturer>Example</manufacturer><modelName>RC-7</modelName>
<serialNumber>4711</serialNumber><UDN>uuid:{device}</UDN><presentationURL>/ui</presentationURL>
</device></root>"""


class FactsTestCase(SynchronousTestCase):
    """A host with the daemon and Consul, and another one for devices."""

    skip = hosts.unavailable() or (None if find_consul() else "Needs consul on the PATH, or in SSDPREG_CONSUL.")

    def setUp(self) -> None:
        self.lan = hosts.Lan()
        self.addCleanup(self.lan.close)
        self.host, self.device = self.lan.host("10.77.0.2"), self.lan.host("10.77.0.3")
        self.rack = Rack(self.host, self.lan.folder)
        self.rack.start_consul()

    def start_server(self, host: Host) -> hosts.Program:
        """Start the HTTP server of a device."""
        self.description = self.lan.folder / "desc.xml"
        self.description.write_text(_DESCRIPTION.format(device=DEVICE))
        root = ROOT / "tests" / "data" / "descriptions" / "redfish-root.json"
        server = host.run([sys.executable, "-c", _SERVER, host.address, str(self.description), str(root)])
        server.wait_for("ready")
        return server

    def meta(self, name: str) -> dict[str, str]:
        """Return the Meta of the only service with a name in Consul's catalog, without the keys of all services."""
        found = [each for each in self.rack.services().values() if each["Service"] == name]
        return found[0]["Meta"] if found else {}

    def wait_for_fact(self, name: str, key: str, value: str | None = None, seconds: float = 20) -> dict[str, str]:
        """Wait until a service has a fact in Consul, and return its Meta."""

        def find() -> dict[str, str]:
            meta = self.meta(name)
            return meta if meta.get(key) and value in (None, meta[key]) else {}

        return wait_until(find, seconds, 0.1, what=f"{key} of {name}")

    def page(self) -> str:
        """Return the status page."""
        return self.host.http("/", port=8580).body.decode()

    def command(self, *arguments: str) -> Any:
        """Run a command on the host of the daemon, and return its JSON output."""
        return json.loads(self.host.call([sys.executable, "-m", "ssdpreg", *arguments]))


class FactsTests(FactsTestCase):
    """The daemon with an HTTP server that the tests control."""

    def announce(self) -> None:
        """Announce two services and a Redfish service, all of them several times."""
        for _ in range(3):
            self.device.send(
                notify(API, DEVICE, "http://10.77.0.3/desc.xml"),
                notify(LLDP, DEVICE, "http://10.77.0.3/desc.xml"),
                notify(REDFISH, BMC, "http://10.77.0.3/redfish/v1/"),
            )

    def indexes(self) -> dict[str, int]:
        """Return the index of the last write of each service in Consul's catalog."""
        entries = [
            entry for name in self.rack.names() for entry in self.rack.request(f"/v1/catalog/service/{name}").json()
        ]
        return {entry["ServiceID"]: entry["ModifyIndex"] for entry in entries}

    def test_facts(self) -> None:
        """The facts are in Consul, on the page, in the targets, in the output of the commands, and in the metrics."""
        server = self.start_server(self.device)
        daemon = self.rack.start_daemon(CONFIG)
        self.announce()
        expected = {
            "ssdp-friendly-name": "Rack controller <7>",
            "ssdp-manufacturer": "Example",
            "ssdp-model": "RC-7",
            "ssdp-serial": "4711",
            "ssdp-presentation-url": "http://10.77.0.3/ui",
        }
        for name in ("RackHD-service:api:2.0", "RackHD-service:lldp:0.1"):
            meta = self.wait_for_fact(name, "ssdp-model")
            self.assertEqual({key: value for key, value in meta.items() if key in expected}, expected)
        bmc = self.wait_for_fact("BMC-service:redfish-rest:1", "redfish-vendor")
        facts = {key: value for key, value in bmc.items() if key.startswith("redfish-") or key in expected}
        self.assertEqual(
            facts,
            {
                "redfish-vendor": "Example Corp.",
                "redfish-product": "Rack Server 7",
                "redfish-version": "1.15.0",
                "redfish-uuid": BMC,
            },
        )
        page = self.page()
        self.assertIn("Rack controller &lt;7&gt;, Example, RC-7", page)
        self.assertIn("Example Corp., Rack Server 7", page)
        wait_until(lambda: self.host.http("/readyz", port=8580).status == 200, 20, what="end of the first search")
        (target,) = self.host.http("/sd/prometheus?service=BMC-service:redfish-rest:1", port=8580).json()
        self.assertEqual(target["labels"]["__meta_ssdp_redfish_product"], "Rack Server 7")
        (target,) = self.host.http("/sd/prometheus?service=RackHD-service:api:2.0", port=8580).json()
        self.assertEqual(target["labels"]["__meta_ssdp_friendly_name"], "Rack controller <7>")
        for url in ("http://127.0.0.1:8580", "http://127.0.0.1:8500"):
            services = {each["name"]: each for each in self.command("services", "--json", "--url", url)["services"]}
            self.assertEqual(services["RackHD-service:api:2.0"]["model"], "RC-7")
            self.assertEqual(services["BMC-service:redfish-rest:1"]["redfish_version"], "1.15.0")
            variables = self.command("inventory", "--url", url)["_meta"]["hostvars"][DEVICE]
            self.assertEqual(variables["ssdp_serial"], "4711")
        metrics = self.host.http("/metrics", port=8580).body.decode()
        self.assertIn('ssdpreg_description_fetches_total{result="ok"} 2.0', metrics)

        # Each service was registered, and updated at most once. Further announcements cause neither writes nor fetches.
        self.assertEqual(daemon.output.count("] Registered "), 3)
        self.assertLessEqual(daemon.output.count("] Updated "), 3)
        before = self.indexes()
        self.announce()
        self.device.send(notify(MEDIA, "other", "http://10.77.0.3/missing"))
        wait_until(lambda: len(self.indexes()) == 4, 10, what="registration of another service")
        after = self.indexes()
        self.assertEqual({service_id: after[service_id] for service_id in before}, before)
        wait_until(lambda: "GET /missing" in server.output, 10, what="fetch from another device")
        requests = [line for line in server.output.splitlines() if line.startswith("GET")]
        self.assertEqual(sorted(line.split()[1] for line in requests), ["/desc.xml", "/missing", "/redfish/v1/"])
        for word in ("Authorization", "Cookie", "Accept-Encoding"):
            self.assertNotIn(word, server.output)

    def test_catalog_mode(self) -> None:
        """In catalog mode the facts are in the Meta of the service on the node of its device."""
        self.start_server(self.device)
        self.rack.start_daemon({**CONFIG, "backend": {"mode": "catalog"}})
        self.announce()

        def find() -> list[dict[str, str]]:
            entries = self.rack.request("/v1/catalog/service/RackHD-service:api:2.0").json()
            return [entry["ServiceMeta"] for entry in entries if "ssdp-model" in entry["ServiceMeta"]]

        (meta,) = wait_until(find, 20, 0.1, what="facts in the catalog")
        self.assertEqual(meta["ssdp-friendly-name"], "Rack controller <7>")
        (node,) = self.rack.request("/v1/catalog/service/RackHD-service:api:2.0").json()
        index = node["ModifyIndex"]
        self.announce()
        (node,) = self.rack.request("/v1/catalog/service/RackHD-service:api:2.0").json()
        self.assertEqual((node["Node"], node["ModifyIndex"]), (DEVICE, index))

    def test_restart(self) -> None:
        """The facts survive a restart without a change in Consul, and are fetched again."""
        server = self.start_server(self.device)
        daemon = self.rack.start_daemon(CONFIG)
        self.announce()
        self.wait_for_fact("RackHD-service:lldp:0.1", "ssdp-model")
        self.wait_for_fact("BMC-service:redfish-rest:1", "redfish-vendor")
        before = self.rack.services()
        daemon.stop()
        self.description.write_text(_DESCRIPTION.format(device=DEVICE).replace("RC-7", "RC-8"))
        daemon = self.rack.start_daemon(CONFIG)
        daemon.wait_for("Adopted 3 services")
        self.assertEqual(self.rack.services(), before)
        self.announce()
        self.wait_for_fact("RackHD-service:api:2.0", "ssdp-model", "RC-8")
        self.wait_for_fact("RackHD-service:lldp:0.1", "ssdp-model", "RC-8")
        self.assertEqual(server.output.count("GET /desc.xml"), 2)
        self.assertNotRegex(daemon.output, "Registered|Deregistered")
        daemon.stop()
        daemon = self.rack.start_daemon({"ssdp": {**CONFIG["ssdp"], "describe": False}})
        wait_until(lambda: "ssdp-model" not in self.meta("RackHD-service:api:2.0"), 20, what="removal of the facts")

    def test_reboot(self) -> None:
        """A device that has restarted, and has another name, is asked again a minute after the first time."""
        server = self.start_server(self.device)
        self.rack.start_daemon(CONFIG)

        def announce(boot_id: int) -> None:
            for nt in (API, LLDP, API):
                edition: Any = {"BOOTID.UPNP.ORG": str(boot_id), "CONFIGID.UPNP.ORG": "1"}
                self.device.send(notify(nt, DEVICE, "http://10.77.0.3/desc.xml", **edition))
                # Such as a reply to a search.
                self.device.send(notify(nt, DEVICE, "http://10.77.0.3/desc.xml"))

        announce(1)
        self.wait_for_fact("RackHD-service:lldp:0.1", "ssdp-model", "RC-7")
        self.description.write_text(_DESCRIPTION.format(device=DEVICE).replace("RC-7", "RC-8"))
        announce(2)
        for name in ("RackHD-service:api:2.0", "RackHD-service:lldp:0.1"):
            self.wait_for_fact(name, "ssdp-model", "RC-8", 90)
        self.assertEqual(server.output.count("GET /desc.xml"), 2)

    def test_forged_location(self) -> None:
        """Nothing is fetched from a host that another host announced, and redirects are not followed."""
        server = self.start_server(self.device)
        self.rack.start_daemon(CONFIG)
        attacker = self.lan.host("10.77.0.66")
        attacker.send(notify(API, "forged", "http://10.77.0.3/desc.xml"))
        self.device.send(notify(LLDP, DEVICE, "http://10.77.0.3/redirect"))
        wait_until(lambda: len(self.rack.services()) == 2, 10, what="registrations")
        wait_until(lambda: "GET /redirect" in server.output, 10, what="fetch")
        metrics = wait_until(
            lambda: [
                line
                for line in self.host.http("/metrics", port=8580).body.decode().splitlines()
                if line == 'ssdpreg_description_fetches_total{result="status"} 1.0'
            ],
            10,
            what="result of the fetch",
        )
        self.assertEqual(len(metrics), 1)
        self.assertNotIn("GET /desc.xml", server.output)
        self.assertNotIn("ssdp-model", self.meta("RackHD-service:api:2.0"))

    def test_departure(self) -> None:
        """A device that leaves takes its facts along."""
        self.start_server(self.device)
        self.rack.start_daemon(CONFIG)
        self.announce()
        self.wait_for_fact("RackHD-service:api:2.0", "ssdp-model")
        self.device.send(byebye(API, DEVICE), byebye(LLDP, DEVICE), byebye(REDFISH, BMC))
        wait_until(lambda: not self.rack.services(), 20, what="departure")
        metrics = self.host.http("/metrics", port=8580).body.decode()
        self.assertIn("ssdpreg_description_devices 0.0", metrics)


class LinkLocalTests(SynchronousTestCase):
    """The daemon without Consul, and a device that has a link-local address only."""

    skip = hosts.unavailable()

    def test_facts(self) -> None:
        """The facts are fetched through the interface of the device, and the request does not contain the zone."""
        lan = hosts.Lan()
        self.addCleanup(lan.close)
        host, device = lan.host("10.77.0.2", "fd00:77::2"), lan.host("", "fd00:77::3")
        description = lan.folder / "desc.xml"
        description.write_text(_DESCRIPTION.format(device=DEVICE))
        script = _SERVER.replace(
            "server = ThreadingHTTPServer((",
            'Server = type("Server", (ThreadingHTTPServer,), {"address_family": 10})\nserver = Server((',
        )
        server = device.run([sys.executable, "-c", script, "::", str(description), ""])
        server.wait_for("ready")
        rack = Rack(host, lan.folder)
        rack.start_daemon({**CONFIG, "backend": {"type": "embedded"}})
        address = device.link_local
        location = f"http://[{address}]/desc.xml"

        def announce() -> None:
            index = socket.if_nametoindex("eth0")
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
                sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
                sender.bind((address, 0, 0, index))
                sender.sendto(notify(API, DEVICE, location), ("ff02::c", 1900))

        device.inside(announce)
        path = "/v1/catalog/service/RackHD-service:api:2.0"

        def find() -> list[str]:
            return [entry["ServiceMeta"].get("ssdp-model", "") for entry in host.http(path, port=8580).json()]

        wait_until(lambda: find() == ["RC-7"], 20, what="facts from a link-local address")
        self.assertIn(f"'Host': '[{address}]:80'", server.output)


class MiniDLNATests(FactsTestCase):
    """The daemon with a real media server."""

    skip = FactsTestCase.skip or skip_without("minidlnad", "minidlna")

    def test_facts(self) -> None:
        """The facts of minidlna are registered, with an ampersand in its name that it does not escape."""
        folder = self.lan.folder
        (folder / "media").mkdir()
        config = folder / "minidlna.conf"
        config.write_text(
            "port=8200\nnetwork_interface=eth0\n"
            f"media_dir={folder}/media\ndb_dir={folder}/db\nlog_dir={folder}\n"
            f"friendly_name=Films & Music\nserial=12345678\nuuid={DEVICE}\n"
        )
        (folder / "db").mkdir()
        self.rack.start_daemon(CONFIG)
        self.device.run(["minidlnad", "-S", "-f", str(config), "-P", str(folder / "minidlna.pid")])
        meta = self.wait_for_fact("UPnP-device:MediaServer:1", "ssdp-serial", "12345678")
        self.assertEqual((meta["ssdp-friendly-name"], meta["ssdp-manufacturer"]), ("Films & Music", "Justin Maggard"))
        self.assertEqual(meta["ssdp-presentation-url"], "http://10.77.0.3:8200/")


class MiniUPnPdTests(FactsTestCase):
    """The daemon with a real router daemon."""

    skip = FactsTestCase.skip or skip_without("miniupnpd", "miniupnpd")

    def test_facts(self) -> None:
        """An embedded device of miniupnpd has its own facts, and not those of the root device."""
        program = shutil.which("miniupnpd")
        assert program is not None
        config = self.lan.folder / "miniupnpd.conf"
        config.write_text(
            "ext_ifname=eth1\nlistening_ip=eth0\nhttp_port=5000\nenable_natpmp=no\nenable_upnp=yes\n"
            "uuid=00000000-0000-4000-8000-0a0a0a0a0a0a\nfriendly_name=Router of rack 7\n"
        )
        # An external address that miniupnpd accepts. The interface is not connected to any network.
        self.device.call(["ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth2"])
        self.device.call(["ip", "address", "add", "5.5.5.5/24", "dev", "eth1"])
        self.device.call(["ip", "link", "set", "eth1", "up"])
        self.rack.start_daemon(CONFIG)
        self.device.run([program, "-d", "-f", str(config), "-P", str(self.lan.folder / "miniupnpd.pid")])
        meta = self.wait_for_fact("UPnP-device:WANConnectionDevice:2", "ssdp-model")
        self.assertEqual((meta["ssdp-model"], meta["ssdp-friendly-name"]), ("MiniUPnPd", "WANConnectionDevice"))


class GerberaTests(FactsTestCase):
    """The daemon with another real media server."""

    skip = FactsTestCase.skip or stacks.unavailable([stacks.GERBERA])

    def test_facts(self) -> None:
        """The facts of gerbera are registered, with the URL of its page."""
        folder = self.lan.folder / "gerbera"
        folder.mkdir()
        self.rack.start_daemon(CONFIG)
        stacks.GERBERA.start(self.device, 50000, folder)
        meta = self.wait_for_fact("UPnP-device:MediaServer:1", "ssdp-friendly-name", "Gerbera")
        self.assertEqual((meta["ssdp-manufacturer"], meta["ssdp-model"]), ("Gerbera Contributors", "gerbera"))
        self.assertEqual((meta["ssdp-serial"], meta["ssdp-presentation-url"]), ("1", "http://10.77.0.3:50000/"))
