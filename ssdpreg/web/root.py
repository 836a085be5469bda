"""The tree of resources."""

from __future__ import annotations

from typing import Any

from twisted.web.resource import IResource

from ssdpreg.web.backend_states import BackendStates
from ssdpreg.web.catalogue import Catalogue
from ssdpreg.web.change_stream import ChangeStream
from ssdpreg.web.changes import ServiceChanges
from ssdpreg.web.competing import CompetingClaims
from ssdpreg.web.connections import Connections
from ssdpreg.web.consul_api import make_consul_api
from ssdpreg.web.health import Healthz, Readyz
from ssdpreg.web.history import History
from ssdpreg.web.metrics import Metrics, Numbers
from ssdpreg.web.prometheus_sd import PrometheusSD
from ssdpreg.web.resources import Folder, compressed
from ssdpreg.web.slices import RequestCooperator
from ssdpreg.web.static_files import make_static_files
from ssdpreg.web.status_page import StatusPage
from ssdpreg.web.view import View


def make_root(reactor: Any, view: View, connections: Connections | None = None) -> IResource:
    """
    Create the resource at ``/`` with all resources below it.

    :param reactor: Provides ``IReactorTime``.
    :param view: Parts of the daemon.
    :param connections: The server's connections, for their limits and metrics.
    """
    connections = Connections() if connections is None else connections
    cooperator = RequestCooperator(reactor)
    registrations = view.registry.registrations
    catalogue = Catalogue(reactor, registrations, cooperator=cooperator)
    history = History(reactor, registrations)
    states = BackendStates(reactor, registrations, view.reconciler.state, cooperator)
    changes = ServiceChanges(reactor)
    for listener in (catalogue, history, states, changes):
        view.registry.subscribe(listener)
    claims = CompetingClaims(reactor, view.registry)
    page = StatusPage(reactor, view, history, catalogue, states, changes, claims, cooperator)
    root, discovery = Folder(), Folder()
    root.putChild(b"", compressed(page))
    root.putChild(b"events", ChangeStream(reactor, page.state, connections))
    root.putChild(b"healthz", Healthz())
    root.putChild(b"metrics", compressed(Metrics(Numbers(view, history, catalogue, states, changes, connections))))
    root.putChild(b"readyz", Readyz(view))
    root.putChild(b"sd", discovery)
    root.putChild(b"static", make_static_files())
    root.putChild(b"v1", make_consul_api(catalogue, connections, view.datacenter, view.node, cooperator, claims))
    discovery.putChild(b"prometheus", compressed(PrometheusSD(view.registry, catalogue, cooperator)))
    return root
