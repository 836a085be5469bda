"""Web resource for health checks of announced RackHD devices."""

from __future__ import annotations

import json
from collections.abc import Sequence

from twisted.web.resource import Resource
from twisted.web.static import Data

from ssdpreg.announcer.devices import Device


def make_health_resource(devices: Sequence[Device]) -> Resource:
    """
    Make a root resource that serves ``GET /api/2.0/nodes``, as RackHD does: a JSON list of nodes.

    The project's ``registry.json`` configures a health check of that path.

    :param devices: The devices to list as nodes.
    """
    nodes = [{"id": device.udn.removeprefix("uuid:"), "name": device.name} for device in devices]
    root, api, version = Resource(), Resource(), Resource()
    root.putChild(b"api", api)
    api.putChild(b"2.0", version)
    version.putChild(b"nodes", Data(json.dumps(nodes).encode(), "application/json"))
    return root
