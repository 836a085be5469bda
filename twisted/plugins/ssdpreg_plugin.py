"""
Tells Twisted which commands and backends ssdpreg brings.

Every ``twistd`` of the environment imports this, so heavy modules are named in strings.
"""

from twisted.application.service import ServiceMaker

from ssdpreg.backends import BackendMaker

ssdpreg = ServiceMaker(
    "ssdpreg",
    "ssdpreg.daemon.tap",
    "Keep Consul true to what devices announce over SSDP.",
    "ssdpreg",
)
ssdpspoof = ServiceMaker(
    "ssdpspoof",
    "ssdpreg.announcer.tap",
    "Announce over SSDP what a file says, to try listeners with.",
    "ssdpspoof",
)
consul = BackendMaker("consul", "ssdpreg.backends.consul_agent.make_backend")
embedded = BackendMaker("embedded", "ssdpreg.backends.embedded.make_backend")
