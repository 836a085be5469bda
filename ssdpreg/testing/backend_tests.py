"""Contract of :class:`ssdpreg.interfaces.IRegistryBackend` as tests, which every backend has to pass."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from ssdpreg.interfaces import IOverlappingPlans, IRegistryBackend
from ssdpreg.registration import Check, Outcome, Plan, Registration

if TYPE_CHECKING:
    # The class is mixed into one of trial's, which has no types.
    from unittest import TestCase
else:
    TestCase = object


def make_registration(number: int = 0, scope: str = "test", **changes: Any) -> Registration:
    """
    Make a registration for a test.

    :param number: Number from which the IDs and the address are made.
    :param scope: Scope of the daemon that registers it.
    :param changes: Attributes of :class:`ssdpreg.registration.Registration` with other values.
    """
    service_id = f"ssdpreg-api-2-0-{number:016x}"
    registration = Registration(
        service_id=service_id,
        name="RackHD-service:api:2.0",
        address=f"192.0.2.{number % 250 + 1}",
        port=8080,
        tags=(),
        meta={
            "external-source": "ssdpreg",
            "ssdpreg-scope": scope,
            "ssdp-device": f"device-{number}",
            "ssdp-location": f"http://192.0.2.{number % 250 + 1}:8080/",
        },
        checks=frozenset({Check(f"{service_id}-alive", kind="alive")}),
    )
    return replace(registration, **changes)


class BackendTestsMixin(TestCase):
    """
    Tests that every backend has to pass.

    To be mixed into a :class:`twisted.trial.unittest.TestCase` that implements :meth:`make_backend`.
    """

    def make_backend(self, scope: str = "test") -> IRegistryBackend:
        """
        Make a backend without registrations, and close it when the test ends.

        :param scope: Scope of the daemon. Within one test, backends of all scopes share one store.
        """
        raise NotImplementedError

    async def test_interface(self) -> None:
        """The backend provides ``IRegistryBackend``."""
        verifyObject(IRegistryBackend, self.make_backend())

    async def test_nothing(self) -> None:
        """A new backend is empty, and an empty plan changes nothing."""
        backend = self.make_backend()
        self.assertEqual(await backend.apply(Plan()), Outcome())
        self.assertEqual(await backend.read(), {})

    async def test_register(self) -> None:
        """``read`` returns a registration equal to the one that was registered."""
        backend = self.make_backend()
        registration = make_registration()
        outcome = await backend.apply(Plan(register=(registration,)))
        self.assertEqual(outcome, Outcome(applied=frozenset({registration.service_id})))
        self.assertEqual(await backend.read(), {registration.service_id: registration})

    async def test_everything_is_kept(self) -> None:
        """Tags in their order, text in any script, IPv6 addresses and all checks are stored."""
        backend = self.make_backend()
        registration = make_registration(
            name="Inservice-urn:MalformedData",
            address="2001:db8::5",
            port=65535,
            tags=("zebra", "ünï cödé", "ant"),
        )
        service_id = registration.service_id
        registration = replace(
            registration,
            meta={
                **registration.meta,
                "ssdp-server": 'Größe/1.0 "電源" \\ <b>',
                "ssdp-usn": "",
                "redfish-product": "Größe",
            },
            checks=registration.checks
            | {
                Check(f"{service_id}-http-0a", "http", "http://[2001:db8::5]/x?a=b", 15.0, 2.5, True, 300.0),
                Check(f"{service_id}-tcp-0b", "tcp", "[2001:db8::5]:80", 0.5),
            },
        )
        await backend.apply(Plan(register=(registration,)))
        self.assertEqual(await backend.read(), {service_id: registration})

    async def test_register_again(self) -> None:
        """A plan that is applied twice has the same outcome, and changes nothing the second time."""
        backend = self.make_backend()
        plan = Plan(register=(make_registration(1), make_registration(2)))
        first = await backend.apply(plan)
        before = await backend.read()
        self.assertEqual(await backend.apply(plan), first)
        self.assertEqual(await backend.read(), before)

    async def test_replace(self) -> None:
        """A registration replaces an earlier one with the same service ID, the name included."""
        backend = self.make_backend()
        await backend.apply(Plan(register=(make_registration(),)))
        moved = make_registration(name="RackHD-other", address="192.0.2.99", port=1, tags=("moved",))
        await backend.apply(Plan(register=(moved,)))
        self.assertEqual(await backend.read(), {moved.service_id: moved})

    async def test_replace_checks(self) -> None:
        """A check that is missing in the next registration of its service is removed."""
        backend = self.make_backend()
        plain = make_registration()
        http = Check(f"{plain.service_id}-http-0a", "http", "http://192.0.2.1/", 15.0)
        tcp = Check(f"{plain.service_id}-tcp-0b", "tcp", "192.0.2.1:80", 15.0)
        for checks in ({http}, {tcp}, {http, tcp}, set()):
            registration = replace(plain, checks=plain.checks | checks)
            await backend.apply(Plan(register=(registration,)))
            self.assertEqual(await backend.read(), {plain.service_id: registration})

    async def test_deregister(self) -> None:
        """``apply`` removes the deregistered service and no other."""
        backend = self.make_backend()
        leaving, staying = make_registration(1), make_registration(2)
        await backend.apply(Plan(register=(leaving, staying)))
        outcome = await backend.apply(Plan(deregister=(leaving,)))
        self.assertEqual(outcome, Outcome(applied=frozenset({leaving.service_id})))
        self.assertEqual(await backend.read(), {staying.service_id: staying})

    async def test_deregister_unknown(self) -> None:
        """The removal of a service that is not registered succeeds."""
        backend = self.make_backend()
        unknown = make_registration()
        outcome = await backend.apply(Plan(deregister=(unknown,)))
        self.assertEqual(outcome, Outcome(applied=frozenset({unknown.service_id})))

    async def test_many(self) -> None:
        """One plan registers and deregisters many services."""
        backend = self.make_backend()
        registrations = [make_registration(number) for number in range(60)]
        await backend.apply(Plan(register=tuple(registrations[:40])))
        outcome = await backend.apply(Plan(register=tuple(registrations[40:]), deregister=tuple(registrations[:30])))
        changed = registrations[40:] + registrations[:30]
        self.assertEqual(outcome, Outcome(applied=frozenset(each.service_id for each in changed)))
        self.assertEqual(await backend.read(), {each.service_id: each for each in registrations[30:]})

    async def test_overlapping_plans(self) -> None:
        """A backend that provides ``IOverlappingPlans`` applies two plans at a time."""
        backend = self.make_backend()
        overlapping = IOverlappingPlans(backend, None)
        if overlapping is None:
            return
        verifyObject(IOverlappingPlans, backend)
        registrations = [make_registration(number) for number in range(60)]
        await backend.apply(Plan(register=tuple(registrations[:20])))
        room: Deferred[None] = Deferred()
        first_plan = Plan(register=tuple(registrations[20:40]), deregister=tuple(registrations[:10]))
        first = Deferred.fromCoroutine(overlapping.apply_overlapping(first_plan, lambda: room.callback(None)))
        await room
        second_plan = Plan(register=tuple(registrations[40:]), deregister=tuple(registrations[10:20]))
        second = await overlapping.apply_overlapping(second_plan, lambda: None)
        self.assertEqual(second, Outcome(applied=frozenset(second_plan.service_ids)))
        self.assertEqual(await first, Outcome(applied=frozenset(first_plan.service_ids)))
        self.assertEqual(await backend.read(), {each.service_id: each for each in registrations[20:]})

    async def test_scopes(self) -> None:
        """``read`` returns no registration of another scope."""
        ours, theirs = self.make_backend("ours"), self.make_backend("theirs")
        our_service, their_service = make_registration(1, "ours"), make_registration(2, "theirs")
        await ours.apply(Plan(register=(our_service,)))
        await theirs.apply(Plan(register=(their_service,)))
        self.assertEqual(await ours.read(), {our_service.service_id: our_service})
        self.assertEqual(await theirs.read(), {their_service.service_id: their_service})

    async def test_keep_alive(self) -> None:
        """``keep_alive`` changes no registration."""
        backend = self.make_backend()
        await backend.keep_alive()
        registration = make_registration()
        await backend.apply(Plan(register=(registration,)))
        await backend.keep_alive()
        self.assertEqual(await backend.read(), {registration.service_id: registration})

    async def test_retire(self) -> None:
        """``retire`` keeps the registrations, and works on a backend that has none."""
        backend = self.make_backend()
        await backend.retire()
        registration = make_registration()
        await backend.apply(Plan(register=(registration,)))
        await backend.retire()
        self.assertEqual(await backend.read(), {registration.service_id: registration})
