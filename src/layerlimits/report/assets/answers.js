"use strict";
// The browser of all answers: search, filters, and the models side by side.
const PAGE = 20;
const WORDS = { no_answer: "no answer" };

class Answers {
  constructor(root, book) {
    Object.assign(this, { root, book, shown: PAGE });
    this.list = one("#answer-list");
    this.fields = Object.fromEntries(all("[name]", root).map((field) => [field.name, field]));
    this.labels = book.models.map(([label]) => label);
    this.fill(this.fields.task, book.tasks.map((task) => task.name));
    this.fill(this.fields.model, this.labels.slice(1));
    const first = book.models.findIndex(([, stage]) => stage === "recover");
    const pruned = book.models.findLastIndex(([, stage]) => stage === "prune");
    this.fields.model.value = this.labels[first > 0 ? first : pruned] ?? this.labels[1] ?? "";
    const outcomes = new Set(book.tasks.flatMap((task) => task.items.flatMap((item) => item[4].map((answer) => answer[2]))));
    this.fill(this.fields.outcome, [...outcomes].map((place) => book.strings[place]).sort());
    root.addEventListener("input", () => { this.shown = PAGE; this.draw(); });
    root.addEventListener("submit", (event) => event.preventDefault());
    one("#more-answers").addEventListener("click", () => { this.shown += PAGE; this.draw(); });
    this.draw();
  }

  fill(field, values) {
    field.append(...values.map((value) => make("option", { value }, WORDS[value] ?? value)));
  }

  // The models beside each other: the unpruned one, the chosen one, and the one it was made of or those made of it.
  columns() {
    const chosen = this.labels.indexOf(this.fields.model.value);
    if (chosen < 1) return [0];
    const parent = this.labels.indexOf(this.book.models[chosen][3]);
    const children = this.book.models.flatMap(([, , , from], place) => (from === this.labels[chosen] ? [place] : []));
    return [0, ...(parent > 0 ? [parent] : []), chosen, ...children];
  }

  matches() {
    const { task, outcome, verdict, flip, search } = this.fields;
    const chosen = Math.max(this.labels.indexOf(this.fields.model.value), 0);
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = [];
    for (const part of this.book.tasks) {
      if (task.value && part.name !== task.value) continue;
      for (const item of part.items) {
        const [base, own] = [0, chosen].map((model) => item[4].find((answer) => answer[0] === model));
        if (!own) continue;
        if (outcome.value && this.book.strings[own[2]] !== outcome.value) continue;
        if (verdict.value && (own[3] >= 1 ? "right" : own[3] > 0 ? "partly" : "wrong") !== verdict.value) continue;
        if (flip.value && this.flip(base, own) !== flip.value) continue;
        if (words.length) {
          const text = [item[0], item[2], item[3], ...item[4].map((answer) => this.book.strings[answer[1]])].join(" ").toLowerCase();
          if (!words.every((word) => text.includes(word))) continue;
        }
        found.push([part, item]);
      }
    }
    return found;
  }

  flip(base, own) {
    if (!base) return "";
    const change = Math.sign(own[3] - base[3]);
    if (change) return change < 0 ? "lost" : "won";
    return base[1] === own[1] ? "equal" : "other words";
  }

  draw() {
    const found = this.matches();
    const columns = this.columns();
    this.list.replaceChildren(...found.slice(0, this.shown).map(([task, item]) => this.card(task, item, columns)));
    const count = `${found.length} ${found.length === 1 ? "item" : "items"}, ${Math.min(this.shown, found.length)} shown`;
    one("#answer-count").textContent = count;
    one("#more-answers").hidden = found.length <= this.shown;
  }

  card(task, item, columns) {
    const [id, draw, prompt, target, answers] = item;
    const ask = make("div", { className: "ask" }, make("h4", {}, `${task.name}, item ${id}${draw ? `, draw ${draw + 1}` : ""}`));
    ask.append(prompt ? this.text(prompt, "prompt") : make("p", { className: "lead" }, "The text of this item is not in the run folder."));
    if (target) ask.append(make("p", { className: "who" }, "reference"), this.text(target, "reference"));
    const base = answers.find((answer) => answer[0] === 0);
    const shown = columns.flatMap((model) => answers.filter((answer) => answer[0] === model));
    return make("article", { className: "card" }, ask, make("div", { className: "answers" }, ...shown.map((answer) => this.answer(task, answer, base))));
  }

  answer(task, answer, base) {
    const [model, text, outcome, value, extracted, why] = answer;
    const name = this.book.strings[outcome];
    const badge = task.graded
      ? make("span", { className: "badge graded" }, value.toFixed(2))
      : make("span", { className: `badge ${name}` }, WORDS[name] ?? name);
    const block = make("div", {}, make("p", { className: "who" }, badge, this.labels[model]));
    const content = this.book.strings[text];
    const pre = this.text("", `answer of ${this.labels[model]}`);
    if (base && base !== answer) {
      pre.append(...differences(this.book.strings[base[1]], content).map(([part, differs]) => (differs ? make("mark", {}, visible(part)) : visible(part))));
    } else {
      pre.append(visible(content));
    }
    block.append(pre);
    const notes = [this.book.strings[extracted] && `read as: ${visible(this.book.strings[extracted])}`, this.book.strings[why]].filter(Boolean);
    if (notes.length) block.append(make("p", { className: "why" }, notes.join("; ")));
    return block;
  }

  text(content, label) {
    const pre = make("pre", { tabIndex: 0, dir: "auto" }, visible(content));
    pre.setAttribute("role", "region");
    pre.setAttribute("aria-label", label);
    return pre;
  }
}

const labelsOfAnswers = new Set();
window.answersOf = (model) => labelsOfAnswers.has(model);
let browser = null;

window.showAnswers = (model, task) => {
  Object.entries({ model, task, search: "", outcome: "", verdict: "", flip: "" }).forEach(([name, value]) => { browser.fields[name].value = value; });
  browser.shown = PAGE;
  browser.draw();
  location.hash = "answers";
  one("#answers").scrollIntoView();
  browser.fields.search.focus({ preventScroll: true });
};

addEventListener("DOMContentLoaded", async () => {
  const root = one("#answer-filters");
  if (!root) return;
  const book = await loaded("book");
  book.models.forEach(([label]) => labelsOfAnswers.add(label));
  browser = new Answers(root, book);
  document.documentElement.dataset.ready = "yes";
});
