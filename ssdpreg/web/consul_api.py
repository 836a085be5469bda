"""
The read side of Consul's HTTP API, answered from the catalogue.

:data:`ENDPOINTS` lists every path. To add one, add a line there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from twisted.web.resource import IResource
from twisted.web.server import Request

from ssdpreg.web import consul_json
from ssdpreg.web.catalogue import EVERYTHING, SLICE, Catalogue, Entry, Topic, name_topic, node_topic
from ssdpreg.web.competing import CompetingClaims
from ssdpreg.web.connections import BLOCKING, Connections
from ssdpreg.web.errors import ResponseError
from ssdpreg.web.json_stream import JSONWriter
from ssdpreg.web.query import Query, parse_query
from ssdpreg.web.resources import Body, Folder, ReadOnlyResource, client_of_request, compressed, query_string
from ssdpreg.web.slices import RequestCooperator


@dataclass(frozen=True, slots=True)
class Server:
    """
    The daemon as a client of the API sees it.

    :ivar datacenter: Its only datacenter.
    :ivar node: Its name.
    :ivar address: ``host:port`` at which it received the request.
    :ivar claims: Competing claims of the services.
    """

    datacenter: str
    node: str
    address: str
    claims: CompetingClaims


@dataclass(frozen=True, slots=True)
class Result:
    """
    The services that a query selects.

    :ivar catalogue: The live services.
    :ivar topic: Topic of the query.
    :ivar query: Its filters.
    """

    catalogue: Catalogue
    topic: Topic
    query: Query

    def slices(self) -> Iterator[list[Entry]]:
        """Iterate over the services, in slices of which some may be empty."""
        for entries in self.catalogue.slices(self.topic):
            yield [entry for entry in entries if self._matches(entry)] if self._filters else entries

    def names(self) -> Iterator[list[tuple[str, list[str]]]]:
        """Iterate over the sorted names of the services and all tags of each name, in slices."""
        if not self._filters:
            yield from self.catalogue.names()
            return
        tags: defaultdict[str, set[str]] = defaultdict(set)
        for entries in self.slices():
            for entry in entries:
                tags[entry.registration.name].update(entry.registration.tags)
            yield []
        names = sorted(tags)
        for first in range(0, len(names), SLICE):
            yield [(name, sorted(tags[name])) for name in names[first : first + SLICE]]

    @property
    def _filters(self) -> bool:
        return bool(self.query.tags or self.query.node_meta)

    def _matches(self, entry: Entry) -> bool:
        tags = {tag.casefold() for tag in entry.registration.tags}
        return self.query.tags <= tags and self.query.node_meta.items() <= consul_json.node_meta(entry).items()


#: Returns the topic of a query from the rest of the path. Raises :class:`ResponseError` if the rest does not fit.
FindTopic = Callable[[str], Topic]
#: Returns the body of the response in pieces, each with some of the services.
Describe = Callable[[Result, Server, JSONWriter], Iterable[str]]


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


def _catalog_node(result: Result, server: Server, json: JSONWriter) -> Iterator[str]:
    """Describe one node with all its services, or null if it has no service."""
    slices = result.slices()
    first = next((entries for entries in slices if entries), None)
    if first is None:
        yield json.value(None)
        return

    def services() -> Iterator[list[tuple[str, consul_json.JSON]]]:
        for entries in (first, *slices):
            yield [(entry.registration.service_id, consul_json.node_service(entry)) for entry in entries]

    node = consul_json.node_with_meta(first[0], server.datacenter)
    yield from json.object_around("Node", node, "Services", services())


def _catalog_nodes(result: Result, server: Server, json: JSONWriter) -> Iterator[str]:
    return json.array(consul_json.catalog_nodes(result.slices(), server.datacenter))


def _catalog_service(result: Result, server: Server, json: JSONWriter) -> Iterator[str]:
    return json.array(
        [consul_json.catalog_service(entry, server.datacenter) for entry in entries] for entries in result.slices()
    )


def _catalog_services(result: Result, server: Server, json: JSONWriter) -> Iterator[str]:
    return json.object(result.names())


def _health_service(result: Result, server: Server, json: JSONWriter) -> Iterator[str]:
    return json.array(
        [
            consul_json.health_service(entry, server.datacenter, server.claims.of(entry.registration.service_id))
            for entry in entries
        ]
        for entries in result.slices()
    )


def _agent_self(result: Result, server: Server, json: JSONWriter) -> Iterator[str]:
    yield json.value(consul_json.agent_self(server.datacenter, server.node))


#: Path below ``/v1``; topic, or None if the response does not depend on the catalogue; contents of the response.
ENDPOINTS: Sequence[tuple[str, FindTopic | None, Describe]] = (
    ("agent/self", None, _agent_self),
    ("catalog/datacenters", None, lambda _, server, json: [json.value([server.datacenter])]),
    ("catalog/node", _by_node, _catalog_node),
    ("catalog/nodes", _everything, _catalog_nodes),
    ("catalog/service", _by_name, _catalog_service),
    ("catalog/services", _everything, _catalog_services),
    ("health/service", _by_name, _health_service),
    ("status/leader", None, lambda _, server, json: [json.value(server.address)]),
)


class CatalogueResource(ReadOnlyResource):
    """
    One line of :data:`ENDPOINTS`.

    With ``?index=`` the response is delayed until the topic changes: a blocking query.

    :param topic: See :data:`FindTopic`, or None.
    :param describe: See :data:`Describe`.
    :param catalogue: The live services.
    :param connections: Limits the number of blocking queries.
    :param datacenter: The only datacenter that ``?dc=`` accepts.
    :param node: Name of this daemon.
    :param cooperator: Makes the pieces of large responses.
    :param claims: Competing claims of the services.
    """

    def __init__(
        self,
        topic: FindTopic | None,
        describe: Describe,
        catalogue: Catalogue,
        connections: Connections,
        datacenter: str,
        node: str,
        cooperator: RequestCooperator,
        claims: CompetingClaims,
    ) -> None:
        super().__init__(cooperator)
        self._topic, self._describe, self._catalogue, self._connections = topic, describe, catalogue, connections
        self._datacenter, self._node, self._claims = datacenter, node, claims

    async def respond(self, request: Request) -> Body:
        query = parse_query(query_string(request), self._datacenter)
        topic = EVERYTHING if self._topic is None else await self._wait(self._topic, request, query)
        host = request.getHost()
        address = f"{getattr(host, 'host', '')}:{getattr(host, 'port', 0)}"
        request.setHeader(b"Content-Type", b"application/json")
        writer = JSONWriter(query.pretty)
        server = Server(self._datacenter, self._node, address, self._claims)
        return writer.document(self._describe(Result(self._catalogue, topic, query), server, writer))

    async def _wait(self, find_topic: FindTopic, request: Request, query: Query) -> Topic:
        # A name may contain slashes.
        topic = find_topic(b"/".join(request.postpath or []).decode(errors="replace"))
        if query.index >= self._catalogue.index(topic):
            with self._connections.holding(BLOCKING, client_of_request(request)):
                await self._catalogue.wait(topic, query.index, query.wait)
        request.setHeader(b"X-Consul-Index", b"%d" % self._catalogue.index(topic))
        request.setHeader(b"X-Consul-Knownleader", b"true")
        request.setHeader(b"X-Consul-Lastcontact", b"0")
        return topic


def make_consul_api(
    catalogue: Catalogue,
    connections: Connections,
    datacenter: str,
    node: str,
    cooperator: RequestCooperator,
    claims: CompetingClaims,
) -> IResource:
    """
    Create the resource at ``/v1`` with all resources below it.

    :param catalogue: The live services.
    :param connections: Limits the number of blocking queries.
    :param datacenter: The only datacenter that ``?dc=`` accepts.
    :param node: Name of this daemon.
    :param cooperator: Makes the pieces of large responses.
    :param claims: Competing claims of the services.
    """
    root, folders = Folder(), dict[str, Folder]()
    for path, topic, describe in ENDPOINTS:
        name, _, endpoint = path.partition("/")
        if name not in folders:
            folders[name] = Folder()
            root.putChild(name.encode(), folders[name])
        resource = CatalogueResource(topic, describe, catalogue, connections, datacenter, node, cooperator, claims)
        folders[name].putChild(endpoint.encode(), compressed(resource))
    return root
