"""The read side of Consul's HTTP API, over what is live."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from uuid import NAMESPACE_DNS, uuid5

from twisted.web.resource import IResource
from twisted.web.server import Request

import ssdpreg
from ssdpreg.web import consul_json
from ssdpreg.web.catalogue import EVERYTHING, Catalogue, Entry, Topic, name_topic, node_topic
from ssdpreg.web.errors import AnswerError
from ssdpreg.web.query import Query, parse_query
from ssdpreg.web.resources import Folder, Readable, compressed, query_of


class _Endpoint(Readable):
    """
    Answers in JSON.

    :param datacenter: The only one that can be asked for.
    """

    def __init__(self, datacenter: str) -> None:
        super().__init__()
        self._datacenter = datacenter

    async def answer(self, request: Request) -> bytes:
        query = parse_query(query_of(request), self._datacenter)
        value = await self.value(request, query)
        request.setHeader(b"Content-Type", b"application/json")
        if query.pretty:
            return json.dumps(value, ensure_ascii=False, indent=4).encode() + b"\n"
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()

    async def value(self, request: Request, query: Query) -> Any:
        raise NotImplementedError


class _CatalogueEndpoint(_Endpoint):
    """
    Answers from the catalogue: at once, or after a change to a reader that has seen the present state.

    :param catalogue: What is live.
    """

    def __init__(self, datacenter: str, catalogue: Catalogue) -> None:
        super().__init__(datacenter)
        self._catalogue = catalogue

    async def value(self, request: Request, query: Query) -> Any:
        # Names may hold slashes.
        topic = self.topic(b"/".join(request.postpath or []).decode(errors="replace"))
        if query.index:
            await self._catalogue.wait(topic, query.index, query.wait)
        request.setHeader(b"X-Consul-Index", b"%d" % self._catalogue.index(topic))
        request.setHeader(b"X-Consul-Knownleader", b"true")
        request.setHeader(b"X-Consul-Lastcontact", b"0")
        return self.describe([entry for entry in self._catalogue.entries(topic) if _meets(entry, query)])

    def topic(self, rest: str) -> Topic:
        """
        Name what is asked for.

        :param rest: What follows in the path.
        """
        raise NotImplementedError

    def describe(self, entries: Sequence[Entry]) -> Any:
        """Word the answer."""
        raise NotImplementedError


def _meets(entry: Entry, query: Query) -> bool:
    tags = {tag.casefold() for tag in entry.registration.tags}
    return query.tags <= tags and query.node_meta.items() <= consul_json.node_meta(entry).items()


class _OfEverything(_CatalogueEndpoint):
    def topic(self, rest: str) -> Topic:
        if rest:
            raise AnswerError("", 404)
        return EVERYTHING


class _OfName(_CatalogueEndpoint):
    def topic(self, rest: str) -> Topic:
        if not rest:
            raise AnswerError("Missing service name")
        return name_topic(rest)


class CatalogServices(_OfEverything):
    """``/v1/catalog/services``: all names, with their tags."""

    def describe(self, entries: Sequence[Entry]) -> Any:
        return consul_json.catalog_services(entries)


class CatalogNodes(_OfEverything):
    """``/v1/catalog/nodes``: all devices."""

    def describe(self, entries: Sequence[Entry]) -> Any:
        return consul_json.catalog_nodes(entries, self._datacenter)


class CatalogService(_OfName):
    """``/v1/catalog/service/NAME``: all services of a name."""

    def describe(self, entries: Sequence[Entry]) -> Any:
        return [consul_json.catalog_service(entry, self._datacenter) for entry in entries]


class HealthService(_OfName):
    """``/v1/health/service/NAME``: all services of a name, with their health."""

    def describe(self, entries: Sequence[Entry]) -> Any:
        return [consul_json.health_service(entry, self._datacenter) for entry in entries]


class CatalogNode(_CatalogueEndpoint):
    """``/v1/catalog/node/ID``: a device with its services."""

    def topic(self, rest: str) -> Topic:
        if not rest:
            raise AnswerError("Missing node name")
        return node_topic(rest)

    def describe(self, entries: Sequence[Entry]) -> Any:
        return consul_json.catalog_node(entries, self._datacenter)


class CatalogDatacenters(_Endpoint):
    """``/v1/catalog/datacenters``: the one that there is."""

    async def value(self, request: Request, query: Query) -> Any:
        return [self._datacenter]


class StatusLeader(_Endpoint):
    """``/v1/status/leader``: this daemon."""

    async def value(self, request: Request, query: Query) -> Any:
        host = request.getHost()
        return f"{getattr(host, 'host', '')}:{getattr(host, 'port', 0)}"


class AgentSelf(_Endpoint):
    """
    ``/v1/agent/self``: where a reader learns its datacenter.

    :param node: What this daemon is called.
    """

    def __init__(self, datacenter: str, node: str) -> None:
        super().__init__(datacenter)
        self._node = node

    async def value(self, request: Request, query: Query) -> Any:
        config = {
            "Datacenter": self._datacenter,
            "NodeName": self._node,
            "NodeID": str(uuid5(NAMESPACE_DNS, self._node)),
            "Revision": "",
            "Server": True,
            "Version": ssdpreg.__version__,
        }
        return {"Config": config, "Meta": {}}


def make_consul_api(catalogue: Catalogue, datacenter: str, node: str) -> IResource:
    """
    Make the tree below ``/v1``.

    :param catalogue: What is live.
    :param datacenter: What readers call the place.
    :param node: What this daemon is called.
    """
    return _folder(
        agent=_folder(self=AgentSelf(datacenter, node)),
        catalog=_folder(
            datacenters=CatalogDatacenters(datacenter),
            node=CatalogNode(datacenter, catalogue),
            nodes=CatalogNodes(datacenter, catalogue),
            service=CatalogService(datacenter, catalogue),
            services=CatalogServices(datacenter, catalogue),
        ),
        health=_folder(service=HealthService(datacenter, catalogue)),
        status=_folder(leader=StatusLeader(datacenter)),
    )


def _folder(**children: IResource) -> Folder:
    folder = Folder()
    for name, child in children.items():
        folder.putChild(name.encode(), child if isinstance(child, Folder) else compressed(child))
    return folder
