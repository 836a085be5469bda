"""``/sd/prometheus``: what is live, as targets for Prometheus' ``http_sd_configs``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from twisted.web.server import Request

from ssdpreg.discovery.location import Endpoint
from ssdpreg.registration import Registration
from ssdpreg.registry import Registry
from ssdpreg.web.catalogue import Catalogue, Entry
from ssdpreg.web.errors import AnswerError
from ssdpreg.web.resources import Readable, query_of

#: Scheme and path of a LOCATION, which was found to be one: urllib would raise at some that are in use.
_PARTS = re.compile(r"(https?)://[^/?#]*([^?#]*)", re.IGNORECASE)


class PrometheusSD(Readable):
    """
    Lists what is live.

    Prometheus keeps its targets when the answer is an error, and drops them all when it is an empty list. So there is
    none before every device had the time to be heard.

    :param registry: Knows when that is.
    :param catalogue: What is live.
    """

    def __init__(self, registry: Registry, catalogue: Catalogue) -> None:
        super().__init__()
        self._registry, self._catalogue = registry, catalogue

    async def answer(self, request: Request) -> bytes:
        wanted = parse_filters(query_of(request))
        if not self._registry.settled:
            raise AnswerError("The first search is not over yet", 503)
        groups = [_target_group(entry) for entry in self._catalogue.entries() if _meets(entry.registration, wanted)]
        request.setHeader(b"Content-Type", b"application/json")
        return json.dumps(groups).encode()


def parse_filters(text: str) -> Mapping[str, frozenset[str]]:
    """
    Read which services are wanted.

    :param text: The query of the URL.
    :return: Values in lower case: under ``service`` and ``device`` those of which one has to be met, under ``tag``
        those that all have to be.
    :raise AnswerError: If anything else is asked for: to pass it over would mean to scrape what nobody wants scraped.
    """
    values = parse_qs(text, keep_blank_values=True)
    unknown = values.keys() - {"service", "device", "tag"}
    if unknown:
        raise AnswerError(f"Unknown filter {min(unknown)!r}: there are service, device and tag")
    return {name: frozenset(value.casefold() for value in each) for name, each in values.items()}


def _meets(registration: Registration, wanted: Mapping[str, frozenset[str]]) -> bool:
    if "service" in wanted and registration.name.casefold() not in wanted["service"]:
        return False
    if "device" in wanted and registration.meta["ssdp-device"].casefold() not in wanted["device"]:
        return False
    return wanted.get("tag", frozenset()) <= {tag.casefold() for tag in registration.tags}


def _target_group(entry: Entry) -> dict[str, Any]:
    registration = entry.registration
    meta = registration.meta
    scheme, path = _parts(meta["ssdp-location"])
    labels = {
        "service": registration.name,
        "service_id": registration.service_id,
        "device": meta["ssdp-device"],
        "address": registration.address,
        "port": str(registration.port),
        # As Consul's: commas around each, so that a relabelling can look for ",lab,".
        "tags": "".join(f",{tag}" for tag in registration.tags) + ",",
        "nt": meta["ssdp-nt"],
        "usn": meta["ssdp-usn"],
        "location": meta["ssdp-location"],
        "scheme": scheme,
        "path": path,
        "server": meta["ssdp-server"],
        "scope": meta["ssdpreg-scope"],
    }
    target = Endpoint(scheme, registration.address, registration.port).netloc
    return {
        "targets": [target],
        "labels": {"__scheme__": scheme, **{f"__meta_ssdp_{name}": value for name, value in labels.items()}},
    }


def _parts(location: str) -> tuple[str, str]:
    match = _PARTS.match(location)
    return (match[1].lower(), match[2]) if match else ("http", "")
