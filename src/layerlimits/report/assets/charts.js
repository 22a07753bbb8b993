"use strict";
// Charts show the value under the pointer, are read by arrow keys, dim other series, and download as SVG and PNG.
const SVG = "http://www.w3.org/2000/svg";
const PNG_SCALE = 3;

const tip = make("div", { id: "tip", hidden: true });

function showTip(mark) {
  tip.textContent = mark.dataset.tip;
  tip.hidden = false;
  const place = mark.getBoundingClientRect();
  const left = place.left + place.width / 2 - tip.offsetWidth / 2;
  tip.style.left = `${Math.max(4, Math.min(left, document.documentElement.clientWidth - tip.offsetWidth - 4)) + scrollX}px`;
  const above = place.top - tip.offsetHeight - 8;
  tip.style.top = `${(above > 0 ? above : place.bottom + 8) + scrollY}px`;
}

function current(chart, mark) {
  all(".at", chart).forEach((other) => other.classList.remove("at"));
  if (!mark) { tip.hidden = true; return; }
  mark.classList.add("at");
  mark.scrollIntoView({ block: "nearest", inline: "nearest" });
  showTip(mark);
  announce(mark.dataset.tip);
}

function readByKeys(chart) {
  const marks = all("[data-tip]", chart);
  let place = -1;
  const panels = one(".panels", chart);
  panels.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") current(chart, null);
    if (!step || !marks.length) return;
    event.preventDefault();
    place = (place + step + marks.length) % marks.length;
    current(chart, marks[place]);
  });
  panels.addEventListener("blur", () => current(chart, null));
}

// Entries of a legend become buttons that dim all other series.
function legendButtons(chart) {
  all(".legend > li", chart).forEach((entry) => {
    const series = entry.dataset.series;
    const button = make("button", { type: "button" }, ...entry.childNodes);
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      all(".legend button", chart).forEach((other) => other.setAttribute("aria-pressed", String(other === button && on)));
      all(".panels .m, .panels .o, .panels .l, .panels .b, .panels .e", chart).forEach((mark) => {
        mark.classList.toggle("dim", on && !series.split(" ").every((name) => mark.classList.contains(name)));
      });
    });
    entry.replaceChildren(button);
  });
}

function textElement(content, x, y, name) {
  const element = document.createElementNS(SVG, "text");
  element.setAttribute("x", x);
  element.setAttribute("y", y);
  element.setAttribute("class", name);
  element.textContent = content;
  return element;
}

function moved(svg, x, y) {
  const group = document.createElementNS(SVG, "g");
  group.setAttribute("transform", `translate(${x} ${y})`);
  group.append(...[...svg.childNodes].map((node) => node.cloneNode(true)));
  return group;
}

// The whole chart as one SVG: title, panels in rows, and legend.
function wholeChart(chart) {
  const panels = all(".panels > svg", chart);
  const widest = Math.max(1040, ...panels.map((panel) => panel.width.baseVal.value));
  const root = document.createElementNS(SVG, "svg");
  root.setAttribute("xmlns", SVG);
  const style = document.createElementNS(SVG, "style");
  style.textContent = one("#chart-style").textContent;
  const paper = document.createElementNS(SVG, "rect");
  Object.entries({ width: "100%", height: "100%", fill: "#fff" }).forEach(([key, value]) => paper.setAttribute(key, value));
  root.append(style, one("#shapes > defs").cloneNode(true), paper, textElement(one("figcaption > :first-child", chart).textContent.trim(), 0, 15, "h"));
  let [x, y, height, right] = [0, 26, 0, 600];
  for (const panel of panels) {
    const [w, h] = [panel.width.baseVal.value, panel.height.baseVal.value];
    if (x && x + w > widest) { x = 0; y += height + 14; height = 0; }
    root.append(moved(panel, x, y));
    right = Math.max(right, x + w);
    height = Math.max(height, h);
    x += w + 14;
  }
  [x, y] = [0, y + height + 10];
  for (const entry of all(".legend li", chart)) {
    const room = entry.textContent.trim().length * 6.6 + 44;
    if (x && x + room > right) { x = 0; y += 20; }
    root.append(moved(one("svg", entry), x, y), textElement(entry.textContent.trim(), x + 26, y + 10, "k"));
    x += room;
  }
  const bottom = y + 24;
  root.setAttribute("viewBox", `0 0 ${right} ${bottom}`);
  root.setAttribute("width", right);
  root.setAttribute("height", bottom);
  return root;
}

function saveSvg(chart) {
  const text = new XMLSerializer().serializeToString(wholeChart(chart));
  download(`${chart.dataset.name}.svg`, new Blob([text], { type: "image/svg+xml" }));
}

async function savePng(chart) {
  const root = wholeChart(chart);
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(new XMLSerializer().serializeToString(root))}`;
  await image.decode();
  const canvas = make("canvas", { width: root.getAttribute("width") * PNG_SCALE, height: root.getAttribute("height") * PNG_SCALE });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  canvas.toBlob((blob) => download(`${chart.dataset.name}.png`, blob), "image/png");
}

addEventListener("DOMContentLoaded", () => {
  document.body.append(tip);
  all("figure.chart").forEach((chart) => {
    // Tooltips of the page replace those of the browser.
    all("title", one(".panels", chart)).forEach((title) => { title.parentElement.dataset.tip = title.textContent; title.remove(); });
    one(".panels", chart).addEventListener("pointerover", (event) => {
      if (event.target.dataset?.tip) showTip(event.target); else tip.hidden = true;
    });
    one(".panels", chart).addEventListener("pointerleave", () => { tip.hidden = true; });
    readByKeys(chart);
    legendButtons(chart);
    one(".save-svg", chart).addEventListener("click", () => saveSvg(chart));
    one(".save-png", chart).addEventListener("click", () => savePng(chart));
  });
});
