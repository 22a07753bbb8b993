"use strict";
// Tables sort, filter and download as CSV. Their rows come from the page's data; the rows in the HTML are the first ones.
const SHOWN_ROWS = 200;

const valueOf = (cell) => (Array.isArray(cell) ? cell[0] : cell);
// A cell is a text, a number, null, [number, text], or an estimate: [estimate, low, high, n], with a text and interval if it has its own.
const textOf = (cell) => (Array.isArray(cell) ? (cell.length === 2 ? cell[1] : cell[4] ?? cell[0].toFixed(3)) : cell ?? "");
const flat = (row) => row.map(textOf).join(" ").toLowerCase();

function compared(left, right) {
  const [a, b] = [valueOf(left), valueOf(right)];
  const [noA, noB] = [a === null || a === "", b === null || b === ""];
  if (noA || noB) return noA - noB || 0;
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
}

function cellElement(cell, kind, first) {
  const text = kind === "text" || kind === "wide";
  const element = make(first ? "th" : "td", { className: kind });
  if (first) element.scope = "row";
  if (Array.isArray(cell) && cell.length >= 4) {
    const interval = make("span", { className: "interval" }, cell[5] ?? `${cell[1].toFixed(2)}\u2013${cell[2].toFixed(2)}`);
    element.append(textOf(cell), " ", interval);
  } else if (cell === null) {
    element.textContent = text ? "" : "\u2013";
  } else {
    element.textContent = Array.isArray(cell) ? cell[1] : typeof cell === "number" ? shortNumber(cell) : cell;
  }
  return element;
}

const shortNumber = (value) => (Number.isInteger(value) ? value.toLocaleString("en") : String(Number(value.toPrecision(3))));

const quoted = (value) => (/[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);

function csvOf(columns, rows) {
  const heads = columns.flatMap(([title, kind]) => {
    const name = title.replace(" (95% CI)", "");
    return kind === "estimate" ? [name, `${name} low`, `${name} high`, `${name} n`] : [title];
  });
  const lines = rows.map((row) => row.flatMap((cell, place) => {
    if (columns[place][1] === "estimate") return cell === null ? ["", "", "", ""] : cell.slice(0, 4);
    return [valueOf(cell) ?? ""];
  }));
  return [heads, ...lines].map((line) => line.map((value) => quoted(String(value))).join(",")).join("\n") + "\n";
}

// The label of the model of a row, as in the list of answers; empty if the row is not about one model and task.
function modelOf(columns, row) {
  const cell = Object.fromEntries(columns.map(([title], place) => [title, valueOf(row[place])]));
  if (!cell.task) return "";
  if (cell["skipped layer"] !== undefined) return `without layer ${cell["skipped layer"]}`;
  if (cell.method && cell["layers removed"]) return `${cell.method}, ${cell["layers removed"]} removed`;
  return cell.measure ? cell.model : "";
}

class InteractiveTable {
  constructor(block) {
    this.block = block;
    this.name = block.dataset.table;
    this.body = one("tbody", block);
    this.order = null;
    this.words = "";
    this.limit = SHOWN_ROWS;
    this.count = one(".count", block);
    one("input", block).addEventListener("input", (event) => { this.words = event.target.value; this.draw(); });
    one(".csv", block).addEventListener("click", () => this.save());
    all("thead button", block).forEach((button, place) => button.addEventListener("click", () => this.sort(place)));
    const details = block.closest("details");
    if (details) details.addEventListener("toggle", () => { if (details.open) this.draw(); }, { once: true });
  }

  async rows() {
    const table = (await loaded("tables"))[this.name];
    const words = this.words.toLowerCase().split(/\s+/).filter(Boolean);
    let rows = table.rows.filter((row) => { const text = flat(row); return words.every((word) => text.includes(word)); });
    if (this.order) {
      const { place, sign } = this.order;
      const missing = (row) => { const value = valueOf(row[place]); return value === null || value === ""; };
      rows = rows.toSorted((a, b) => missing(a) - missing(b) || sign * compared(a[place], b[place]));
    }
    return { columns: table.columns, rows, total: table.rows.length };
  }

  sort(place) {
    const sign = this.order?.place === place ? -this.order.sign : 1;
    this.order = { place, sign };
    all("thead th", this.block).forEach((head, number) => {
      if (number === place) head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    });
    this.draw();
  }

  async draw() {
    const { columns, rows, total } = await this.rows();
    const shown = rows.slice(0, this.limit);
    this.body.replaceChildren(...shown.map((row) => this.row(columns, row)));
    this.count.textContent = `${shown.length} of ${rows.length === total ? total : `${rows.length} (of ${total})`} rows`;
    if (rows.length > shown.length) {
      const more = make("button", { type: "button", onclick: () => { this.limit *= 5; this.draw(); } }, "Show more");
      this.count.append(" ", more);
    }
  }

  row(columns, row) {
    const element = make("tr", {}, ...row.map((cell, place) => cellElement(cell, columns[place][1], place === 0)));
    const model = modelOf(columns, row);
    if (model && window.answersOf?.(model)) {
      const task = row[columns.findIndex(([title]) => title === "task")];
      const link = make("button", { type: "button", className: "link", onclick: () => window.showAnswers(model, task) }, "answers");
      link.setAttribute("aria-label", `Answers of ${model} on ${task}`);
      element.lastChild.append(" ", link);
    }
    return element;
  }

  async save() {
    const { columns, rows } = await this.rows();
    download(`${this.name}.csv`, new Blob([csvOf(columns, rows)], { type: "text/csv" }));
    announce(`${rows.length} rows saved as ${this.name}.csv`);
  }
}

addEventListener("DOMContentLoaded", () => all("[data-table]").forEach((block) => new InteractiveTable(block)));
