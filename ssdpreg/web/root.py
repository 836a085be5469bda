"""The tree of resources."""

from __future__ import annotations

from typing import Any

from twisted.web.resource import IResource

from ssdpreg.web.catalogue import Catalogue
from ssdpreg.web.change_stream import ChangeStream
from ssdpreg.web.consul_api import make_consul_api
from ssdpreg.web.health import Healthz, Readyz
from ssdpreg.web.history import History
from ssdpreg.web.metrics import Metrics
from ssdpreg.web.prometheus_sd import PrometheusSD
from ssdpreg.web.resources import Folder, compressed
from ssdpreg.web.static_files import make_static_files
from ssdpreg.web.status_page import StatusPage
from ssdpreg.web.view import View


def make_root(reactor: Any, view: View) -> IResource:
    """
    Create the resource at ``/`` with all resources below it.

    :param reactor: Provides ``IReactorTime``.
    :param view: Parts of the daemon.
    """
    catalogue = Catalogue(reactor, view.registry.registrations)
    history = History(reactor, view.registry.registrations)
    view.registry.subscribe(catalogue)
    view.registry.subscribe(history)
    page = StatusPage(reactor, view, history)
    root, discovery = Folder(), Folder()
    root.putChild(b"", compressed(page))
    root.putChild(b"events", ChangeStream(reactor, page.state))
    root.putChild(b"healthz", Healthz())
    root.putChild(b"metrics", compressed(Metrics(view, history)))
    root.putChild(b"readyz", Readyz(view))
    root.putChild(b"sd", discovery)
    root.putChild(b"static", make_static_files())
    root.putChild(b"v1", make_consul_api(catalogue, view.datacenter, view.node))
    discovery.putChild(b"prometheus", compressed(PrometheusSD(view.registry, catalogue)))
    return root
