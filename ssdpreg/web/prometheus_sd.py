"""``/sd/prometheus``: the live services as targets for ``http_sd_configs`` of Prometheus."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from twisted.web.server import Request

from ssdpreg.discovery.location import Endpoint
from ssdpreg.registration import Registration
from ssdpreg.registration.meta import facts_by_name
from ssdpreg.registry import Registry
from ssdpreg.web.catalogue import EVERYTHING, Catalogue, Entry, name_topic
from ssdpreg.web.errors import ResponseError
from ssdpreg.web.json_stream import JSONWriter
from ssdpreg.web.resources import Body, ReadOnlyResource, query_string
from ssdpreg.web.slices import RequestCooperator

#: Scheme and path of a LOCATION that was accepted. ``urlsplit`` raises ValueError for some of those that devices use.
_PARTS = re.compile(r"(https?)://[^/?#]*([^?#]*)", re.IGNORECASE)


class PrometheusSD(ReadOnlyResource):
    """
    List of targets, or an error until the first search is over.

    Prometheus keeps its targets when it receives an error, and drops all targets when it receives an empty list.

    :param registry: Provides ``settled``.
    :param catalogue: The live services.
    :param cooperator: Makes the pieces of large responses.
    """

    def __init__(self, registry: Registry, catalogue: Catalogue, cooperator: RequestCooperator) -> None:
        super().__init__(cooperator)
        self._registry, self._catalogue = registry, catalogue

    async def respond(self, request: Request) -> Body:
        filters = parse_filters(query_string(request))
        if not self._registry.settled:
            raise ResponseError("The first search is not over yet", 503)
        request.setHeader(b"Content-Type", b"application/json")
        names = sorted(filters["service"]) if "service" in filters else None
        topics = [EVERYTHING] if names is None else [name_topic(name) for name in names]
        writer = JSONWriter()
        return writer.document(
            writer.array(
                [_target_group(entry) for entry in entries if _matches(entry.registration, filters)]
                for topic in topics
                for entries in self._catalogue.slices(topic)
            )
        )


def parse_filters(text: str) -> Mapping[str, frozenset[str]]:
    """
    Parse the filters in a query string.

    :param text: The query string of the URL.
    :return: Values in lower case by ``service``, ``device`` and ``tag``. A service must have one of the names, belong
        to one of the devices, and have all of the tags.
    :raise ResponseError: For any other parameter: without the filter, too many targets would be scraped.
    """
    values = parse_qs(text, keep_blank_values=True)
    unknown = values.keys() - {"service", "device", "tag"}
    if unknown:
        raise ResponseError(f"Unknown filter {min(unknown)!r}: there are service, device and tag")
    return {name: frozenset(value.casefold() for value in each) for name, each in values.items()}


def _matches(registration: Registration, filters: Mapping[str, frozenset[str]]) -> bool:
    if "service" in filters and registration.name.casefold() not in filters["service"]:
        return False
    if "device" in filters and registration.device_id.casefold() not in filters["device"]:
        return False
    return filters.get("tag", frozenset()) <= {tag.casefold() for tag in registration.tags}


def _target_group(entry: Entry) -> dict[str, Any]:
    registration = entry.registration
    scheme, path = _parts(registration.location)
    labels = {
        "service": registration.name,
        "service_id": registration.service_id,
        "device": registration.device_id,
        "address": registration.address,
        "port": str(registration.port),
        # In the form of Prometheus' own label for Consul's tags: relabelling rules can search for ",lab,".
        "tags": "".join(f",{tag}" for tag in registration.tags) + ",",
        "nt": registration.nt,
        "usn": registration.usn,
        "location": registration.location,
        "scheme": scheme,
        "path": path,
        "server": registration.server,
        "scope": registration.scope,
        **facts_by_name(registration.meta),
    }
    target = Endpoint(scheme, registration.address, registration.port).netloc
    return {
        "targets": [target],
        "labels": {"__scheme__": scheme, **{f"__meta_ssdp_{name}": value for name, value in labels.items()}},
    }


def _parts(location: str) -> tuple[str, str]:
    match = _PARTS.match(location)
    return (match[1].lower(), match[2]) if match else ("http", "")
