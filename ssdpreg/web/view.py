"""What there is to show, in one place."""

from __future__ import annotations

from dataclasses import dataclass

from ssdpreg.interfaces import IRequestStatistics
from ssdpreg.reconciler import Reconciler
from ssdpreg.registry import Registry


@dataclass(frozen=True)
class View:
    """
    The parts of the daemon that its web server reads.

    :ivar registry: What is live.
    :ivar reconciler: What the backend has of it.
    :ivar backend: What to call the backend, such as ``Consul at 127.0.0.1:8500``.
    :ivar datacenter: The one that readers may ask for by ``?dc=``.
    :ivar node: What this daemon is called among others: the host's name, as a rule.
    :ivar requests: What the backend counts, or ``None`` where it makes no requests.
    """

    registry: Registry
    reconciler: Reconciler
    backend: str
    datacenter: str
    node: str
    requests: IRequestStatistics | None = None
