"""
Twisted plugins of ssdpreg: the ``twistd`` subcommands and the backends.

Every ``twistd`` of the environment imports this module, so heavy modules are named in strings.
"""

from twisted.application.service import ServiceMaker

from ssdpreg.backends import BackendMaker

ssdpreg = ServiceMaker(
    "ssdpreg",
    "ssdpreg.daemon.tap",
    "Register the services that devices announce over SSDP in Consul.",
    "ssdpreg",
)
ssdpspoof = ServiceMaker(
    "ssdpspoof",
    "ssdpreg.announcer.tap",
    "Announce the devices in a file over SSDP, to test listeners.",
    "ssdpspoof",
)
consul = BackendMaker("consul", "ssdpreg.backends.consul.make_backend")
embedded = BackendMaker("embedded", "ssdpreg.backends.embedded.make_backend")
