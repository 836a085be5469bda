"""HTML of an opened service on the status page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from twisted.python.filepath import FilePath
from twisted.web.server import Request
from twisted.web.template import Element, Tag, XMLFile, renderer, tags

from ssdpreg.web.status import format_duration
from ssdpreg.web.status_details import Details, FactRow
from ssdpreg.web.status_query import PageQuery


class ServiceElement(Element):
    """
    Row with the details of a service, below its row in the table. The template escapes all text from devices.

    :param details: The details.
    """

    loader = XMLFile(FilePath(__file__).sibling("service.xml"))

    def __init__(self, details: Details) -> None:
        super().__init__()
        self._details, self._row = details, details.row

    @renderer
    def frame(self, request: Request, tag: Tag) -> Tag:
        service_id = self._row.registration.service_id
        return tag(id=f"details-{service_id}").fillSlots(
            label=f"{self._row.registration.name} of {self._row.registration.device_id}",
            link=PageQuery(text=service_id, opened=(service_id,)).link(),
        )

    @renderer
    def reception(self, request: Request, tag: Tag) -> Iterator[Tag]:
        row, origin = self._row, self._details.origin
        if origin:
            yield tag.clone()("Received ", _time("age", row.silence), f" ago {origin}")
        else:
            yield tag.clone()("Adopted from the backend at the start of the daemon, and not received since then")
        yield tag.clone()("Standing ", tags.b(row.standing), f": {self._details.standing}")
        yield tag.clone()("Expires in ", _time("remaining", row.remaining), ", if it is not received again")

    @renderer
    def contested(self, request: Request, tag: Tag) -> Tag | str:
        return tag if self._details.claims else ""

    @renderer
    def claims(self, request: Request, tag: Tag) -> Iterator[Tag]:
        for claim in self._details.claims:
            answers = "answers searches" if claim.answers else "does not answer searches"
            yield tag.clone()(
                tags.b(claim.location),
                f", announced by {claim.sender}: {claim.standing}, {answers}, received ",
                _time("age", claim.silence),
                " ago, first ",
                _time("age", claim.age),
                " ago",
            )

    @renderer
    def changes(self, request: Request, tag: Tag) -> Iterator[Tag]:
        for change in self._details.changes:
            yield tag.clone()(_time("age", change.age), f" ago: {change.text}")
        yield tag.clone()(_time("age", self._row.age), " ago: appeared")

    @renderer
    def facts(self, request: Request, tag: Tag) -> Iterator[Tag]:
        return _render_facts(self._details.facts, tag)

    @renderer
    def registration(self, request: Request, tag: Tag) -> Iterator[Tag]:
        return _render_facts(self._details.registration, tag)


def _render_facts(facts: Sequence[FactRow], tag: Tag) -> Iterator[Tag]:
    for fact in facts:
        value: Tag | str = tags.a(fact.value, href=fact.link, rel="noreferrer noopener") if fact.link else fact.value
        yield tag.clone().fillSlots(name=fact.name, value=value)


def _time(kind: str, seconds: float) -> Tag:
    """
    Return a duration that page.js keeps up to date.

    :param kind: ``age`` or ``remaining``.
    """
    return tags.span(format_duration(seconds), **{f"data-{kind}": f"{seconds:.1f}"})
