"""Which resource is where."""

from __future__ import annotations

from typing import Any

from twisted.web.resource import IResource

from ssdpreg.web.catalogue import Catalogue
from ssdpreg.web.consul_api import make_consul_api
from ssdpreg.web.resources import Folder
from ssdpreg.web.view import View


def make_root(reactor: Any, view: View) -> IResource:
    """
    Make all that there is to be read.

    :param reactor: Provides ``IReactorTime``.
    :param view: What there is to show.
    """
    catalogue = Catalogue(reactor)
    view.registry.subscribe(catalogue)
    root = Folder()
    root.putChild(b"v1", make_consul_api(catalogue, view.datacenter, view.node))
    return root
