"""
The read side of Consul's HTTP API, answered from the catalogue.

:data:`ENDPOINTS` lists every path. To add one, add a line there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from twisted.web.resource import IResource
from twisted.web.server import Request

from ssdpreg.web import consul_json
from ssdpreg.web.catalogue import EVERYTHING, Catalogue, Topic, name_topic, node_topic
from ssdpreg.web.competing import CompetingClaims
from ssdpreg.web.connections import BLOCKING, Connections
from ssdpreg.web.errors import ResponseError
from ssdpreg.web.filter import Predicate, compile_filter, portion
from ssdpreg.web.filter_fields import (
    Fields,
    check_fields,
    health_service_fields,
    node_fields,
    service_fields,
    service_node_fields,
)
from ssdpreg.web.filter_syntax import FilterError, FilterLimitError
from ssdpreg.web.json_stream import JSONWriter
from ssdpreg.web.query import Query, parse_query
from ssdpreg.web.resources import Body, Folder, ReadOnlyResource, client_of_request, compressed, query_string
from ssdpreg.web.selection import Result
from ssdpreg.web.slices import RequestCooperator

#: The topic of no service: every service has a name.
_NOTHING: Topic = name_topic("")


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


def _by_state(rest: str) -> Topic:
    if not rest:
        raise ResponseError("Missing check state")
    # The checks of live services pass.
    return EVERYTHING if rest in ("any", consul_json.CHECK_STATUS) else _NOTHING


def _catalog_node(result: Result, server: Server, json: JSONWriter) -> Iterator[str]:
    """Describe one node with its services, or null if it has no service. A filter leaves the node."""
    slices = result.slices_of_topic()
    first = next((entries for entries in slices if entries), None)
    if first is None:
        yield json.value(None)
        return

    def services() -> Iterator[list[tuple[str, consul_json.JSON]]]:
        for entries in (first, *slices):
            selected = [entry for entry in entries if result.matches(entry)]
            yield [(entry.registration.service_id, consul_json.node_service(entry)) for entry in selected]

    node = consul_json.node_with_meta(first[0], server.datacenter)
    yield from json.object_around("Node", node, "Services", services())


def _catalog_nodes(result: Result, server: Server, json: JSONWriter) -> Iterator[str]:
    slices = result.slices_of_topic()
    return json.array(consul_json.catalog_nodes(slices, server.datacenter, result.matches))


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


def _health_checks(result: Result, server: Server, json: JSONWriter) -> Iterator[str]:
    return json.array([consul_json.health_check(entry) for entry in entries] for entries in result.slices())


def _agent_self(result: Result, server: Server, json: JSONWriter) -> Iterator[str]:
    yield json.value(consul_json.agent_self(server.datacenter, server.node))


@dataclass(frozen=True, slots=True)
class APIEndpoint:
    """
    A path and its response. Parameters that it does not read have no effect, as in Consul.

    :ivar path: Path below ``/v1``.
    :ivar describe: See :data:`Describe`.
    :ivar topic: See :data:`FindTopic`; None if the response does not depend on the catalogue.
    :ivar fields: Returns the fields that ``?filter=`` can select; None for an endpoint without filter.
    :ivar tags: Whether it reads ``?tag=``.
    :ivar node_meta: Whether it reads ``?node-meta=``.
    """

    path: str
    describe: Describe
    topic: FindTopic | None = None
    fields: Callable[[str], Fields] | None = None
    tags: bool = False
    node_meta: bool = False


#: All endpoints. Consul 1.8 has no filter for ``catalog/services``; later versions have this one.
ENDPOINTS: Sequence[APIEndpoint] = (
    APIEndpoint("agent/self", _agent_self),
    APIEndpoint("catalog/datacenters", lambda _, server, json: [json.value([server.datacenter])]),
    APIEndpoint("catalog/node", _catalog_node, _by_node, service_fields),
    APIEndpoint("catalog/nodes", _catalog_nodes, _everything, node_fields, node_meta=True),
    APIEndpoint("catalog/service", _catalog_service, _by_name, service_node_fields, tags=True, node_meta=True),
    APIEndpoint("catalog/services", _catalog_services, _everything, service_node_fields, node_meta=True),
    APIEndpoint("health/checks", _health_checks, _by_name, check_fields, node_meta=True),
    APIEndpoint("health/node", _health_checks, _by_node, check_fields),
    APIEndpoint("health/service", _health_service, _by_name, health_service_fields, tags=True, node_meta=True),
    APIEndpoint("health/state", _health_checks, _by_state, check_fields, node_meta=True),
    APIEndpoint("status/leader", lambda _, server, json: [json.value(server.address)]),
)


class CatalogueResource(ReadOnlyResource):
    """
    One of :data:`ENDPOINTS`.

    With ``?index=`` the response is delayed until the topic changes: a blocking query.

    :param endpoint: The endpoint.
    :param catalogue: The live services.
    :param connections: Limits the number of blocking queries.
    :param datacenter: The only datacenter that ``?dc=`` accepts.
    :param node: Name of this daemon.
    :param cooperator: Makes the pieces of large responses.
    :param claims: Competing claims of the services.
    """

    def __init__(
        self,
        endpoint: APIEndpoint,
        catalogue: Catalogue,
        connections: Connections,
        datacenter: str,
        node: str,
        cooperator: RequestCooperator,
        claims: CompetingClaims,
    ) -> None:
        super().__init__(cooperator)
        self._endpoint, self._catalogue, self._connections = endpoint, catalogue, connections
        self._datacenter, self._node, self._claims = datacenter, node, claims
        self._fields = None if endpoint.fields is None else endpoint.fields(datacenter)

    async def respond(self, request: Request) -> Body:
        query = parse_query(query_string(request), self._datacenter)
        endpoint, topic, predicate = self._endpoint, EVERYTHING, None
        if endpoint.topic is not None:
            # A name may contain slashes.
            topic = endpoint.topic(b"/".join(request.postpath or []).decode(errors="replace"))
            predicate = self._compile(query.filter)
            await self._wait(topic, request, query)
        host = request.getHost()
        address = f"{getattr(host, 'host', '')}:{getattr(host, 'port', 0)}"
        request.setHeader(b"Content-Type", b"application/json")
        writer = JSONWriter(query.pretty)
        result = Result(
            self._catalogue,
            topic,
            query.tags if endpoint.tags else frozenset(),
            query.node_meta if endpoint.node_meta else {},
            predicate,
            portion(query.filter),
        )
        server = Server(self._datacenter, self._node, address, self._claims)
        return writer.document(endpoint.describe(result, server, writer))

    def _compile(self, text: str) -> Predicate | None:
        """Return the predicate of a filter expression, or None if there is no expression."""
        if not text or self._fields is None:
            return None
        try:
            return compile_filter(text, self._fields)
        except FilterError as error:
            if isinstance(error, FilterLimitError):
                self._connections.refused_requests["filter"] += 1
            raise ResponseError(f"Failed to create boolean expression evaluator: {error}") from error

    async def _wait(self, topic: Topic, request: Request, query: Query) -> None:
        if query.index >= self._catalogue.index(topic):
            with self._connections.holding(BLOCKING, client_of_request(request)):
                await self._catalogue.wait(topic, query.index, query.wait)
        request.setHeader(b"X-Consul-Index", b"%d" % self._catalogue.index(topic))
        request.setHeader(b"X-Consul-Knownleader", b"true")
        request.setHeader(b"X-Consul-Lastcontact", b"0")


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
    for endpoint in ENDPOINTS:
        name, _, rest = endpoint.path.partition("/")
        if name not in folders:
            folders[name] = Folder()
            root.putChild(name.encode(), folders[name])
        resource = CatalogueResource(endpoint, catalogue, connections, datacenter, node, cooperator, claims)
        folders[name].putChild(rest.encode(), compressed(resource))
    return root
