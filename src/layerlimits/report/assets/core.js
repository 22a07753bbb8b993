"use strict";
// Small helpers of the page's scripts. All text from models and users is set as text, never as HTML.
document.documentElement.classList.add("js");

const one = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

const loading = {};
// A value stored in a script element as compressed JSON; it is read once.
function loaded(id) {
  loading[id] ??= (async () => {
    const text = one("#" + id).textContent.trim();
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  })();
  return loading[id];
}

function download(name, blob) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function announce(text) {
  one("#announced").textContent = text;
}

const opened = new Set();
addEventListener("beforeprint", () => all("details:not([open])").forEach((part) => { part.open = true; opened.add(part); }));
addEventListener("afterprint", () => { opened.forEach((part) => { part.open = false; }); opened.clear(); });
// A link into a closed table opens it.
function reveal() {
  const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  const closed = target.closest("details");
  if (closed) closed.open = true;
  target.scrollIntoView();
}
addEventListener("hashchange", reveal);
addEventListener("DOMContentLoaded", reveal);
all("[data-copy]").forEach((button) => button.addEventListener("click", async () => {
  const command = one("code", button.parentElement).textContent;
  try {
    await navigator.clipboard.writeText(command);
    announce("Copied");
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(one("code", button.parentElement));
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}));
