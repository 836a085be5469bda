"""Policy for connections to hosts that SSDP named: health checks and fetches of descriptions. Pure."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address

from ssdpreg.discovery.hosts import IPNetwork
from ssdpreg.discovery.location import Endpoint


def may_probe(endpoint: Endpoint, standing_is_direct: bool, named_networks: Collection[IPNetwork]) -> bool:
    """
    Return whether a health check or a fetch may be aimed at an endpoint.

    Otherwise any host on the network could choose the target, and so send requests from the Consul agent to services
    that only the agent can reach. A host name is never a target: its owner can change the address between two checks,
    and a name of the agent's host means other addresses there than elsewhere.

    :param standing_is_direct: Whether the standing of the claim is ``direct`` or ``confirmed``: the host announced the
        endpoint itself, or answered a search.
    :param named_networks: Networks that the operator named: see
        :attr:`ssdpreg.config.SSDPConfig.named_networks`.
    """
    try:
        address = ip_address(endpoint.host)
    except ValueError:
        return False
    return standing_is_direct or any(address in network for network in named_networks)
