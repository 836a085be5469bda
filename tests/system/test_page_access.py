"""The status page for readers with a phone, a screen reader, a keyboard or weak eyes, in a real browser."""

from __future__ import annotations

import json

from twisted.internet.threads import deferToThread

from tests.support.page_case import PageTestCase, skip_without_axe

_WIDTHS = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"


class AccessibilityTests(PageTestCase):
    """The status page in Chromium, examined as a screen reader or a phone uses it."""

    async def test_phone(self) -> None:
        """The page is no wider than the screen of a phone, also with long device IDs and an opened service."""
        self.daemon.receive_alive("x" * 200, location=f"http://{'y' * 60}.{'z' * 60}/")
        service_id = next(iter(self.daemon.registry.registrations))
        for width in (360, 390):
            await self.use_phone(width)
            for path in ("/", f"/?sort=age&open={service_id}"):
                await self.open(path)
                scroll_width, client_width = await self.run_script(_WIDTHS)
                self.assertEqual((scroll_width, client_width), (width, width), path)

    async def test_accessible(self) -> None:
        """Tables, headings, fields and changes have names for screen readers."""
        self.daemon.receive_alive("dev-1")
        await self.open()
        tree = await deferToThread(self.browser.command, "Accessibility.getFullAXTree")
        nodes = {
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in tree["nodes"]
            if not node["ignored"]
        }
        for expected in (
            ("table", "1 service"),
            ("columnheader", "Expires in"),
            ("rowheader", "RackHD-service:api:2.0"),
            ("heading", "Services"),
            ("heading", "The last hour"),
            ("searchbox", "Show only services with these words"),
            ("link", "10.0.0.5:8080"),
        ):
            self.assertIn(expected, nodes, json.dumps(sorted(nodes)))
        live = await self.run_script("return document.querySelector('[aria-live=polite]').textContent")
        self.assertEqual(live, "1 service on 1 device")

    async def test_contrast(self) -> None:
        """All text has the contrast that WCAG 2.1 requires, in the light and the dark color scheme."""
        self.daemon.receive_alive("dev-1")
        for scheme in ("light", "dark"):
            await self.use_color_scheme(scheme)
            await self.open(f"/?sort=age&open={next(iter(self.daemon.registry.registrations))}")
            self.assertGreaterEqual(await self.run_script(_LEAST_CONTRAST), 4.5, scheme)


#: Gives all rows the color of a change, and returns their number.
_HIGHLIGHT = """
const rows = document.querySelectorAll("main tr[id], main li[id]");
for (const row of rows) row.style.backgroundColor = "var(--glow)";
return rows.length;
"""


class AxeTests(PageTestCase):
    """The status page in Chromium, examined by axe-core."""

    skip = PageTestCase.skip or skip_without_axe()

    async def test_states(self) -> None:
        """axe-core finds no fault: with and without services, sorted and opened, light and dark, on a phone."""
        await self.open()
        self.assertEqual(await self.violations(), [])
        for number in range(101):
            self.daemon.receive_alive(f"dev-{number:03}", sender=f"10.0.0.{number % 50}")
        # With a competing claim.
        self.daemon.receive_alive("dev-000", location="http://10.0.0.66:99/", sender="10.0.0.66")
        service_id = next(iter(self.daemon.registry.registrations))
        for scheme in ("light", "dark"):
            await self.use_color_scheme(scheme)
            for path in ("/", f"/?q=dev-000&sort=-age&open={service_id}", "/?q=nothing"):
                await self.open(path)
                self.assertEqual(await self.violations(), [], f"{path} {scheme}")
        await self.use_phone(390)
        await self.open(f"/?q=dev-000&sort=-age&open={service_id}")
        self.assertEqual(await self.violations(), [], "phone")

    async def test_changes(self) -> None:
        """Rows that have just changed have enough contrast while their color fades."""
        for number in range(3):
            self.daemon.receive_alive(f"dev-{number}")
        self.daemon.receive_byebye("dev-2")
        for scheme in ("light", "dark"):
            await self.use_color_scheme(scheme)
            await self.open()
            rows = await self.run_script(_HIGHLIGHT)
            self.assertGreater(rows, 3)
            self.assertEqual(await self.violations(), [], scheme)

    async def test_faults_are_found(self) -> None:
        """axe-core finds an image without a text, so the other test can fail."""
        await self.open()
        await self.run_script("document.querySelector('img').removeAttribute('alt')")
        self.assertIn("image-alt", " ".join(await self.violations()))


#: Returns the lowest contrast between a text and its background, as defined by WCAG 2.1.
_LEAST_CONTRAST = """
const parse = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
const luminance = (rgb) => {
  const [r, g, b] = rgb.map((c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (element) => {
  for (let each = element; each; each = each.parentElement) {
    const color = getComputedStyle(each).backgroundColor;
    if (!color.startsWith("rgba(0, 0, 0, 0")) return parse(color);
  }
  return [255, 255, 255];
};
let least = 21;
for (const element of document.querySelectorAll("body *")) {
  if (![...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
  if (!element.checkVisibility() || element.closest(".none")) continue;
  const [a, b] = [luminance(parse(getComputedStyle(element).color)), luminance(ground(element))];
  least = Math.min(least, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
}
return least;
"""
