// Keeps the page as the daemon would render it now. The daemon says when; the page is fetched, and what differs is
// changed in place, so that focus, selection and scrolling stay. Without this script the page reloads by itself.
"use strict";

const KEEP = "data-keep"; // What the script or the reader has changed.
const LEAST_PAUSE = 1000; // Milliseconds between two fetches.

let busy = false;
let again = false;

async function refresh() {
  if (busy) {
    again = true;
    return;
  }
  busy = true;
  again = false;
  const began = Date.now();
  try {
    const response = await fetch(location.href, { cache: "no-store" });
    if (response.ok) {
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      document.title = page.title;
      setClock(response.headers.get("Date"));
      morphChildren(document.body, page.body);
      tick();
    }
  } catch {
    // The daemon is down: the stream of events says so, and when it is back.
  }
  setTimeout(() => {
    busy = false;
    if (again) refresh();
  }, Math.max(0, LEAST_PAUSE - (Date.now() - began)));
}

// --- Changes in place ---

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

// Children with an ID are found by it, others by their place.
function morphChildren(old, fresh) {
  const wanted = new Set([...fresh.children].map((child) => child.id));
  for (const child of [...old.children]) {
    if (child.id && !wanted.has(child.id)) child.remove();
  }
  const byId = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
  let next = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    const same = child.id ? byId.get(child.id) : alike(next, child) ? next : null;
    if (!same) {
      const added = document.importNode(child, true);
      old.insertBefore(added, next);
      if (child.id) glow(added);
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

function alike(old, fresh) {
  return old && !old.id && old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName;
}

function glow(element) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  const color = getComputedStyle(document.documentElement).getPropertyValue("--glow");
  element.animate([{ backgroundColor: color }, { backgroundColor: "transparent" }], { duration: 4000, easing: "ease-out" });
}

// --- Time that passes ---

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86400;

// Seconds that this computer's clock is ahead of the daemon's.
let ahead = 0;

function setClock(date) {
  const seconds = (Date.now() - Date.parse(date)) / 1000;
  // Within a second or two both are the same clock: it is read when the answer is under way.
  ahead = Math.abs(seconds) < 2 ? 0 : seconds;
}

function sayDuration(seconds) {
  const rest = Math.max(0, Math.floor(seconds));
  if (rest < MINUTE) return `${rest} s`;
  if (rest < HOUR) return `${Math.floor(rest / MINUTE)} min`;
  if (rest < DAY) return sayBoth(Math.floor(rest / HOUR), "h", Math.floor((rest % HOUR) / MINUTE), "min");
  return sayBoth(Math.floor(rest / DAY), "d", Math.floor((rest % DAY) / HOUR), "h");
}

function sayBoth(major, majorUnit, minor, minorUnit) {
  return minor ? `${major} ${majorUnit} ${minor} ${minorUnit}` : `${major} ${majorUnit}`;
}

function tick() {
  const now = Date.now() / 1000 - ahead;
  for (const element of document.querySelectorAll("[data-past], [data-future]")) {
    const { past, future } = element.dataset;
    const text = sayDuration(past ? now - past : future - now);
    if (element.textContent !== text) element.textContent = text;
  }
}

// --- The daemon's word that something has changed ---

let stream = null;

function listen() {
  stream?.close();
  stream = new EventSource("events");
  stream.onopen = () => {
    show("good", "live");
    refresh();
  };
  stream.onmessage = refresh;
  stream.onerror = () => {
    show("bad", "no connection, trying again");
    // A browser gives up on an answer that is an error, such as that of a proxy.
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
  };
}

function show(state, text) {
  const pill = document.getElementById("connection");
  pill.hidden = false;
  pill.className = `pill ${state}`;
  document.getElementById("connection-text").textContent = text;
  document.body.classList.toggle("stale", state === "bad");
}

// A tab that nobody sees needs no connection, of which a browser has six.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) listen();
  else stream?.close();
});

// --- The filter ---

let typing = 0;

function filter() {
  const text = document.getElementById("q").value;
  history.replaceState(null, "", text ? `?${new URLSearchParams({ q: text })}` : location.pathname);
  refresh();
}

document.getElementById("q").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(filter, 150);
});
document.getElementById("filter").addEventListener("submit", (event) => {
  event.preventDefault();
  filter();
});

setInterval(tick, 1000);
listen();
