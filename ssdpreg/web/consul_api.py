"""
The read side of Consul's HTTP API, answered from the catalogue.

:data:`ENDPOINTS` lists every path. To add one, add a line there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.web.resource import IResource
from twisted.web.server import Request

from ssdpreg.web import consul_json
from ssdpreg.web.catalogue import EVERYTHING, Catalogue, Entry, Topic, name_topic, node_topic
from ssdpreg.web.errors import ResponseError
from ssdpreg.web.query import Query, parse_query
from ssdpreg.web.resources import Folder, ReadOnlyResource, compressed, query_string


@dataclass(frozen=True, slots=True)
class Server:
    """
    The daemon as a client of the API sees it.

    :ivar datacenter: Its only datacenter.
    :ivar node: Its name.
    :ivar address: ``host:port`` at which it received the request.
    """

    datacenter: str
    node: str
    address: str


#: Returns the topic of a query from the rest of the path. Raises :class:`ResponseError` if the rest does not fit.
FindTopic = Callable[[str], Topic]
#: Returns the body of the response, as values that can be serialized as JSON.
Describe = Callable[[Sequence[Entry], Server], Any]


def _everything(rest: str) -> Topic:
    if rest:
        raise ResponseError("", 404)
    return EVERYTHING


def _by_name(rest: str) -> Topic:
    if not rest:
        raise ResponseError("Missing service name")
    return name_topic(rest)


def _by_node(rest: str) -> Topic:
    if not rest:
        raise ResponseError("Missing node name")
    return node_topic(rest)


def _describe_each(describe: Callable[[Entry, str], Any]) -> Describe:
    return lambda entries, server: [describe(entry, server.datacenter) for entry in entries]


#: Path below ``/v1``; topic, or None if the response does not depend on the catalogue; contents of the response.
ENDPOINTS: Sequence[tuple[str, FindTopic | None, Describe]] = (
    ("agent/self", None, lambda _, server: consul_json.agent_self(server.datacenter, server.node)),
    ("catalog/datacenters", None, lambda _, server: [server.datacenter]),
    ("catalog/node", _by_node, lambda entries, server: consul_json.catalog_node(entries, server.datacenter)),
    ("catalog/nodes", _everything, lambda entries, server: consul_json.catalog_nodes(entries, server.datacenter)),
    ("catalog/service", _by_name, _describe_each(consul_json.catalog_service)),
    ("catalog/services", _everything, lambda entries, _: consul_json.catalog_services(entries)),
    ("health/service", _by_name, _describe_each(consul_json.health_service)),
    ("status/leader", None, lambda _, server: server.address),
)


class Endpoint(ReadOnlyResource):
    """
    One line of :data:`ENDPOINTS`.

    With ``?index=`` the response is delayed until the topic changes: a blocking query.

    :param topic: See :data:`FindTopic`, or None.
    :param describe: See :data:`Describe`.
    :param catalogue: The live services.
    :param datacenter: The only datacenter that ``?dc=`` accepts.
    :param node: Name of this daemon.
    """

    def __init__(
        self, topic: FindTopic | None, describe: Describe, catalogue: Catalogue, datacenter: str, node: str
    ) -> None:
        super().__init__()
        self._topic, self._describe, self._catalogue = topic, describe, catalogue
        self._datacenter, self._node = datacenter, node

    async def respond(self, request: Request) -> bytes:
        query = parse_query(query_string(request), self._datacenter)
        entries = [] if self._topic is None else await self._find(self._topic, request, query)
        host = request.getHost()
        address = f"{getattr(host, 'host', '')}:{getattr(host, 'port', 0)}"
        value = self._describe(entries, Server(self._datacenter, self._node, address))
        request.setHeader(b"Content-Type", b"application/json")
        if query.pretty:
            return json.dumps(value, ensure_ascii=False, indent=4).encode() + b"\n"
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()

    async def _find(self, find_topic: FindTopic, request: Request, query: Query) -> Sequence[Entry]:
        # A name may contain slashes.
        topic = find_topic(b"/".join(request.postpath or []).decode(errors="replace"))
        if query.index:
            await self._catalogue.wait(topic, query.index, query.wait)
        request.setHeader(b"X-Consul-Index", b"%d" % self._catalogue.index(topic))
        request.setHeader(b"X-Consul-Knownleader", b"true")
        request.setHeader(b"X-Consul-Lastcontact", b"0")
        return [entry for entry in self._catalogue.entries(topic) if _matches(entry, query)]


def _matches(entry: Entry, query: Query) -> bool:
    tags = {tag.casefold() for tag in entry.registration.tags}
    return query.tags <= tags and query.node_meta.items() <= consul_json.node_meta(entry).items()


def make_consul_api(catalogue: Catalogue, datacenter: str, node: str) -> IResource:
    """
    Create the resource at ``/v1`` with all resources below it.

    :param catalogue: The live services.
    :param datacenter: The only datacenter that ``?dc=`` accepts.
    :param node: Name of this daemon.
    """
    root, folders = Folder(), dict[str, Folder]()
    for path, topic, describe in ENDPOINTS:
        name, _, endpoint = path.partition("/")
        if name not in folders:
            folders[name] = Folder()
            root.putChild(name.encode(), folders[name])
        resource = Endpoint(topic, describe, catalogue, datacenter, node)
        folders[name].putChild(endpoint.encode(), compressed(resource))
    return root
