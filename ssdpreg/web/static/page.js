// Keeps the page up to date. At each server-sent event, the page is fetched again, and the elements that differ are
// changed in place: focus, selection and scroll positions stay. Without this script, the page reloads itself.
"use strict";

const KEEP = "data-keep"; // Marks elements that updates leave alone: the connection state, and the user's input.
const SHORTEST_PAUSE = 1000; // Milliseconds between two fetches.
const OPEN_INTERVAL = 5; // Seconds between two fetches while a service is open.

let fetching = false;
let again = false;
let pause = 0; // Timer of the next fetch.

// Fetch the page soon: at most once in a second.
function refresh() {
  again = true;
  if (!fetching && !pause) update();
}

// Fetch the page at once, for a reader who waits for it.
function refreshNow() {
  again = true;
  if (!fetching) update();
}

async function update() {
  clearTimeout(pause);
  pause = 0;
  fetching = true;
  again = false;
  const began = performance.now();
  const url = location.href;
  try {
    const response = await fetch(url, { cache: "no-store" });
    const arrived = performance.now();
    if (response.ok) {
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      // The reader may have chosen another filter, order or service meanwhile.
      if (url === location.href) {
        document.title = page.title;
        received = arrived;
        rendered = location.search;
        morphChildren(document.body, page.body);
        updateTimes();
      }
    }
  } catch {
    // The daemon does not answer. The stream of events shows that, and reconnects.
  }
  fetching = false;
  if (url !== location.href) {
    update();
    return;
  }
  pause = setTimeout(() => {
    pause = 0;
    if (again) update();
  }, Math.max(0, SHORTEST_PAUSE - (performance.now() - began)));
}

// --- Updates in place ---

function morph(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  if (old.hasAttribute(KEEP) || old.isEqualNode(fresh)) return;
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  morphChildren(old, fresh);
}

// Children with an ID are matched by ID, others by position.
function morphChildren(old, fresh) {
  const wanted = new Set([...fresh.children].map((child) => child.id));
  for (const child of [...old.children]) {
    if (child.id && !wanted.has(child.id)) child.remove();
  }
  const byId = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
  let next = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    const same = child.id ? byId.get(child.id) : hasSameType(next, child) ? next : null;
    if (!same) {
      const added = document.importNode(child, true);
      old.insertBefore(added, next);
      if (child.id) highlight(added);
      continue;
    }
    if (same === next) next = next.nextSibling;
    else old.insertBefore(same, next);
    morph(same, child);
  }
  while (next) {
    const rest = next.nextSibling;
    next.remove();
    next = rest;
  }
}

function hasSameType(old, fresh) {
  return old && !old.id && old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName;
}

function highlight(element) {
  // The reader opened these details, so they are expected.
  if (element.classList.contains("details")) return;
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  const color = getComputedStyle(document.documentElement).getPropertyValue("--glow");
  element.animate([{ backgroundColor: color }, { backgroundColor: "transparent" }], { duration: 4000, easing: "ease-out" });
}

// --- Ages and remaining times ---
//
// The page has them in seconds at the time of rendering, in data-age and data-remaining. The time since then is measured
// here. No clock of this computer is compared with a clock of the daemon's host.

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86400;

// The time at which the page arrived, on the clock of performance.now().
let received = performance.getEntriesByType("navigation")[0]?.responseStart ?? 0;

function formatDuration(seconds) {
  const rest = Math.max(0, Math.floor(seconds));
  if (rest < MINUTE) return `${rest} s`;
  if (rest < HOUR) return `${Math.floor(rest / MINUTE)} min`;
  if (rest < DAY) return formatUnits(Math.floor(rest / HOUR), "h", Math.floor((rest % HOUR) / MINUTE), "min");
  return formatUnits(Math.floor(rest / DAY), "d", Math.floor((rest % DAY) / HOUR), "h");
}

function formatUnits(major, majorUnit, minor, minorUnit) {
  return minor ? `${major} ${majorUnit} ${minor} ${minorUnit}` : `${major} ${majorUnit}`;
}

function updateTimes() {
  const passed = (performance.now() - received) / 1000;
  let overdue = false;
  for (const element of document.querySelectorAll("[data-age], [data-remaining]")) {
    const { age, remaining } = element.dataset;
    const seconds = age === undefined ? Number(remaining) - passed : Number(age) + passed;
    const text = formatDuration(seconds);
    if (element.textContent !== text) element.textContent = text;
    overdue ||= seconds < 0;
  }
  // There is no event when a device renews its advertisement, so a service may live longer than the page knows, and an
  // opened service may have been received again.
  overdue ||= passed > OPEN_INTERVAL && document.querySelector("tr.details") !== null;
  if (overdue && stream?.readyState === EventSource.OPEN) refresh();
}

// --- The stream of events ---

let stream = null;

function connect() {
  stream?.close();
  stream = new EventSource("events");
  stream.onopen = () => {
    showConnection("good", "live");
    refresh();
  };
  stream.onmessage = refresh;
  stream.onerror = () => {
    showConnection("bad", "no connection, retrying");
    // After an error response, such as that of a proxy, a browser does not reconnect by itself.
    if (stream.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
  };
}

function showConnection(state, text) {
  const pill = document.getElementById("connection");
  pill.hidden = false;
  pill.className = `pill ${state}`;
  document.getElementById("connection-text").textContent = text;
  document.body.classList.toggle("stale", state === "bad");
}

// A hidden tab closes its connection: a browser allows six for each server.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) connect();
  else stream?.close();
});

// --- The filter, the order, and the opened services: they are in the URL ---

let typing = 0;
let rendered = location.search; // The URL to which the links of the page belong.

function show(search) {
  history.replaceState(null, "", search || location.pathname);
  refreshNow();
}

// Return the URL that a link leads to. The reader may have used another link since the page was rendered: what the link
// changes is applied to the present URL.
function resolve(search) {
  if (rendered === location.search) return search;
  const [before, after, now] = [rendered, search, location.search].map((text) => new URLSearchParams(text));
  for (const name of new Set([...before.keys(), ...after.keys()])) {
    const [old, wanted] = [before.getAll(name), after.getAll(name)];
    if (String(old) === String(wanted)) continue;
    // Several services can be open. The other parameters have one value.
    const kept = name === "open" ? now.getAll(name).filter((id) => wanted.includes(id) || !old.includes(id)) : [];
    const added = name === "open" ? wanted.filter((id) => !old.includes(id)) : wanted;
    now.delete(name);
    for (const value of new Set([...kept, ...added])) now.append(name, value);
  }
  return now.size ? `?${now}` : "";
}

function applyFilter() {
  const values = new URLSearchParams(new FormData(document.getElementById("filter")));
  for (const [name, value] of [...values]) if (!value) values.delete(name);
  show(values.size ? `?${values}` : "");
}

document.getElementById("q").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(applyFilter, 150);
});
document.getElementById("filter").addEventListener("submit", (event) => {
  event.preventDefault();
  applyFilter();
});

// A link that changes the URL of this page only. With a modifier key, the browser opens it elsewhere.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-live]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  show(resolve(link.search));
});

setInterval(updateTimes, 1000);
connect();
