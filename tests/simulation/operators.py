"""Further actions of operators in agent mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ssdpreg.registration.meta import META_SCOPE, META_SOURCE
from tests.simulation.daemon import SCOPE
from tests.simulation.devices import AGENT

if TYPE_CHECKING:
    from tests.simulation.world import World

#: Seconds in which the daemon repairs an entry that was changed by hand: it compares every 30 s.
_REPAIR = 60.0
#: Shortest and longest seconds for which a mistake in the configuration lasts.
_MISTAKE = (60.0, 300.0)


def edit_entry(world: World) -> None:
    """Change the port, the address, the tags, the Meta, the name or the checks of a service of the daemon by hand."""
    ids = sorted(
        each for each in world.consul.services if each.startswith("ssdpreg-") and each not in world.checker.foreign
    )
    if not ids:
        return
    service_id = world.random.choice(ids)
    entry = world.consul.services[service_id]
    changes: tuple[dict[str, Any], ...] = (
        {"Port": 1},
        {"Address": "10.9.9.9"},
        {"Tags": ["changed by hand"]},
        {"Meta": {**entry["Meta"], "ssdp-server": "changed by hand"}},
        {"Service": "changed-by-hand"},
        {},
    )
    change = world.random.choice(changes)
    what = ", ".join(change) or "checks"
    world.trace.add("", "operator", f"changes {what} of {service_id}")
    world.checker.excuse(service_id, world.clock.seconds() + _REPAIR)
    if change:
        world.consul.put_service(service_id, {**entry, **change}, "operator")
    else:
        _remove_check(world, service_id)
    world.clock.callLater(_REPAIR, _check_repair, world, service_id)


def _remove_check(world: World, service_id: str) -> None:
    check_ids = [each for each in world.consul.check_ids(service_id) if "_service_maintenance" not in each]
    if check_ids:
        world.consul.remove_check(world.random.choice(check_ids))


def _check_repair(world: World, service_id: str) -> None:
    """Check that the daemon has repaired an entry, unless a fault kept it from doing so."""
    if world.checker.undisturbed_for > _REPAIR and not world.consul_fault:
        world.checker.check_repaired(service_id)


def remove_most_terms(world: World) -> None:
    """Remove nearly all search terms by mistake, and add them again later."""
    if world.daemon is None or world.daemon.process.suspended or len(world.terms) < 2:
        return
    before = dict(world.terms)
    world.trace.add("", "operator", "reload with one term")
    world.set_terms({AGENT: before[AGENT]})

    def repair() -> None:
        world.trace.add("", "operator", "reload with the earlier terms")
        world.set_terms(before)
        # Hundreds of services are registered again.
        world.checker.expect_recovery()

    world.clock.callLater(world.random.uniform(*_MISTAKE), repair)


def foreign_entries() -> dict[str, dict[str, str]]:
    """Return the Meta of services of other programs by ID. Each lacks one of the three marks of the daemon's own."""
    own = {META_SOURCE: "ssdpreg", META_SCOPE: SCOPE}
    return {
        "web": {},
        "ssdpreg-web": {},
        "ssdpreg-api-2-0-0123456789abcdef": {**own, META_SCOPE: "another-rack"},
        "ssdpreg-api-2-0-0123456789abcdee": {**own, META_SOURCE: "another-program"},
        "copy-of-ssdpreg": own,
    }


EDITS: tuple[Callable[..., None], ...] = (edit_entry,)
