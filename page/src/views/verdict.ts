// The answer in words, as a bar and as a table.

import type { Answer, Answers, Rate } from "../answer";
import { copy, el, figure, fill } from "../dom";
import { at } from "../figures";
import type { Question, Questions } from "../question";
import { commandLine, numbers } from "../said";
import { duration, gb, gib, headline, tps, whole } from "../words";
import { bar, colourOf, shares } from "./bar";

type Ask = (question: Question) => void;

export function verdictSentence(answer: Answer): [string, string] {
  const spare = answer.limit.budget - answer.total;
  const over = answer.total - answer.limit.limit;
  const said: Record<string, [string, string]> = {
    fits: ["Fits", `${gib(spare)} GiB to spare`],
    tight: ["Tight", `${gib(-spare)} GiB into the reserve`],
    needs_raised_limit: ["Needs a raised limit", `${gib(over)} GiB over the GPU limit, which can be raised so far`],
    does_not_fit: ["Does not fit", `${gib(over)} GiB over the GPU limit`],
  };
  return said[answer.verdict] ?? [headline(answer.verdict), ""];
}

function rated(rate: Rate): string {
  return `${tps(rate.tps)} tokens/s (${tps(rate.low)} to ${tps(rate.high)})`;
}

export function macTitle(questions: Questions, question: Question): string {
  const name = questions.macName(question);
  return question.mac < 0 ? `a Mac with ${name} GB` : `${/^(A|M|8|18)/.test(name) ? "an" : "a"} ${name} GB`;
}

export class VerdictView {
  constructor(
    private readonly section: HTMLElement,
    private readonly answers: Answers,
    private readonly ask: Ask,
  ) {}

  refused(question: Question, reason: string): void {
    const { models } = this.answers.book.figures;
    fill(this.section, el("h2", { id: "asked" }, at(models, question.model).name), el("p", { class: "bad" }, reason));
  }

  show(answer: Answer): void {
    const { questions, book } = this.answers;
    const { question } = answer;
    const app = at(book.figures.apps, question.app);
    const model = at(book.figures.models, question.model);
    const [lead, rest] = verdictSentence(answer);
    const { headline } = at(book.figures.settings, questions.settings(question));
    fill(
      this.section,
      el("h2", { id: "asked" }, `${model.name} on ${macTitle(questions, question)}`),
      el("p", { class: "aside" }, `${answer.file.name} in ${app.title} (${app.version}): ${headline.replace("{context}", whole(question.context))}`),
      el("p", { class: `verdict ${answer.verdict}` }, el("strong", { "data-verdict": answer.verdict }, lead), ` ${rest}`),
      bar(answer),
      this.keys(answer),
      this.ways(answer),
      el("div", { class: "beside" }, this.table(answer), this.facts(answer)),
      this.commands(answer),
    );
  }

  private table(answer: Answer): HTMLElement {
    const { limit, budget, basis, note } = answer.limit;
    const colours = new Map(shares(answer).map((share) => [share.label, colourOf(share.name)]));
    const detail = (said: string) => said && el("small", {}, ` ${said}`);
    const rows = answer.parts.map(({ kind, nbytes }) =>
      el(
        "tr",
        {},
        el(
          "th",
          { scope: "row" },
          el("span", { class: `swatch fill-${colours.get(kind[1]) ?? "other"}` }),
          kind[1],
          kind[3] === "host" ? " (host)" : "",
          detail(kind[5]),
        ),
        el("td", {}, figure(nbytes, gib(nbytes), { "data-part": `${kind[0]}/${kind[3]}` })),
        el("td", { class: "words" }, kind[2]),
      ),
    );
    const sum = (name: string, bytes: number, how: string, part: string, said = "") =>
      el(
        "tr",
        { class: part === "total" ? "sum" : "" },
        el("th", { scope: "row" }, name, detail(said)),
        el("td", {}, figure(bytes, gib(bytes), { "data-part": part })),
        el("td", { class: "words" }, how),
      );
    return el(
      "table",
      { class: "parts" },
      el("caption", {}, "What it takes, in GiB"),
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Part"), el("th", { scope: "col" }, "GiB"), el("th", { scope: "col", class: "words" }, "Known"))),
      el("tbody", {}, ...rows, sum("total", answer.total, "", "total"), sum("GPU limit", limit, basis, "limit", this.answers.book.text(note)), sum("reserve", limit - budget, "", "reserve")),
    );
  }

  // What is asked next, in a size that is read at a glance.
  private keys(answer: Answer): HTMLElement {
    const { largest, allocated, speed, variant, question } = answer;
    const { trained } = at(this.answers.book.figures.models, question.model);
    const reach = largest < allocated.most ? `of ${whole(allocated.most)}` : largest === trained ? "all that it was trained for" : "all that is of use";
    const key = (title: string, said: Node | string, more: string) => el("div", {}, el("dt", {}, title), el("dd", {}, said, more ? el("small", {}, ` ${more}`) : ""));
    return el(
      "dl",
      { class: "keys" },
      key("Largest context", figure(largest, largest ? `${whole(largest)} tokens` : "none fits", { "data-largest": largest }), largest ? reach : ""),
      speed
        ? key("Speed", figure(speed.decode.tps, `${tps(speed.decode.tps)} tokens/s`, { "data-rate": "decode" }), `${tps(speed.decode.low)} to ${tps(speed.decode.high)}`)
        : key("Speed", "not known", answer.noSpeed),
      key("Download", `${gb(variant.fileBytes)} GB`, `${variant.bits.toFixed(2)} bits per weight`),
    );
  }

  private facts(answer: Answer): HTMLElement {
    const { book } = this.answers;
    const { question, speed, file } = answer;
    const items: [string, (Node | string)[]][] = [];
    if (speed) {
      items.push(["Speed later", [figure(speed.full.tps, rated(speed.full), { "data-rate": "decode_full" }), ` with ${whole(question.context)} tokens before it`]]);
      const tokens = question.context;
      items.push(["Prompt", [`${whole(tokens)} tokens take ${duration(tokens / speed.prefill.tps)}: `, figure(speed.prefill.tps, rated(speed.prefill), { "data-rate": "prefill" })]]);
      if (speed.drafting) {
        const [low, high, pairs] = speed.drafting;
        items.push(["Drafting", [`makes it ${low.toFixed(1)} to ${high.toFixed(1)} times as fast (measured, ${pairs} pairs)`]]);
      }
      items.push(["Speed known", [`${speed.basis}: four measurements in five lie in the intervals; ${speed.note}`]]);
      if (answer.verdict !== "fits" && answer.verdict !== "tight") items.push(["", ["speeds are those within the GPU limit; beyond it the Mac swaps and is far slower, or refuses"]]);
    }
    const other = { ...question, macos: 1 - question.macos };
    const there = this.answers.limit(other);
    const verdict = this.answers.verdict(there, answer.total);
    items.push([at(book.figures.macos, other.macos)[1], [`lends ${gib(there.limit)} GiB: ${headline(verdict)}`]]);
    for (const part of answer.later) items.push(["Later", [`up to ${gib(part.nbytes)} GiB of ${part.kind[1]} in use, not in the total`]]);
    if (answer.allocated.usual) items.push(["In use", [`${gib(answer.total + answer.allocated.usual)} GiB in all with one request at a time`]]);
    if (file.repo) {
      const address = `https://huggingface.co/${file.repo}`;
      items.push(["Where", [el("a", { href: address, rel: "noreferrer" }, file.repo)]]);
    }
    return el("dl", { class: "facts" }, ...items.flatMap(([name, said]) => [el("dt", {}, name), el("dd", {}, ...said)]));
  }

  private ways(answer: Answer): HTMLElement | null {
    if (answer.verdict === "fits") return null;
    const { question } = answer;
    const { book, questions } = this.answers;
    const { caches, memories, macs } = book.figures;
    const fits = (other: Question, file = answer.file): boolean => {
      const brief = this.answers.brief(other, file);
      return typeof brief !== "string" && brief.verdict === "fits";
    };
    const ways: [string, Question][] = [];
    if (answer.largest >= 4096) ways.push([`${whole(answer.largest)} tokens of context`, { ...question, context: answer.largest }]);
    const runtime = questions.runtime(question);
    at(caches, runtime).forEach(([, label], kv) => {
      const other = { ...question, kv };
      if (kv !== question.kv && !questions.refusal(question.model, question.app, kv, question.slots) && fits(other)) ways.push([label, other]);
    });
    const best = book.preferred(question.model, runtime).find((file) => fits(question, file));
    if (best) ways.push([best.name, { ...question, file: questions.files(question).indexOf(best) }]);
    const place = memories.findIndex((memory, index) => memory.gib > at(memories, questions.memory(question)).gib && fits({ ...question, mac: -1 - index }));
    if (place >= 0) {
      const { gib: size } = at(memories, place);
      const chip = questions.chip(question)?.chip;
      const same = macs.findIndex((mac) => mac.chip === chip && mac.gib === size);
      const mac = same < 0 ? -1 - place : same;
      ways.push([`${questions.macName({ ...question, mac })} GB of memory`, { ...question, mac }]);
    }
    if (!ways.length) return el("p", {}, "Nothing that this page knows would make it fit as asked.");
    return el(
      "div",
      { class: "ways" },
      el("p", {}, "It fits with"),
      el(
        "ul",
        {},
        ...ways.map(([said, other]) => {
          const button = el("button", { type: "button" }, said);
          button.addEventListener("click", () => this.ask(other));
          return el("li", {}, button);
        }),
      ),
    );
  }

  private commands(answer: Answer): HTMLElement {
    const { questions } = this.answers;
    const line = commandLine(this.answers, answer);
    const start = answer.file.commands.get(answer.question.app);
    const items: [string, string, string][] = [["Ask again", line, "Copy command"]];
    const runs = start !== undefined && (answer.verdict === "fits" || answer.verdict === "tight");
    const isUsual = questions.isUsual(answer.question);
    if (runs && isUsual) {
      const model = at(this.answers.book.figures.models, answer.question.model).name;
      const blanks: Record<string, string> = { repo: answer.file.repo, recipe: answer.file.recipe, model, context: `${answer.question.context}` };
      const [run = "", serve] = start.replace(/\{(\w+)\}/g, (blank, name: string) => blanks[name] ?? blank).split("\n").reverse();
      if (serve) items.push(["Start the server", serve, "Copy server"]);
      items.push(["Run it", run, "Copy start"]);
    }
    const rows = items.flatMap(([title, command, label]) => [el("dt", {}, title), el("dd", {}, el("code", { "data-command": title }, command), this.button(label, () => command))]);
    return el(
      "div",
      { class: "commands" },
      el("dl", {}, ...rows),
      runs && !isUsual ? el("p", { class: "aside" }, "What starts it with these settings is in what this command prints.") : null,
      el(
        "p",
        { class: "buttons" },
        this.button("Copy numbers", () => numbers(this.answers, answer)),
        this.button("Copy link", () => `${location.href.replace(/#.*$/s, "")}${questions.link(answer.question)}`),
      ),
    );
  }

  private button(label: string, text: () => string): HTMLElement {
    const button = el("button", { type: "button", class: "copy" }, label);
    button.addEventListener("click", async () => {
      const done = await copy(text());
      button.textContent = done ? "Copied" : "Cannot copy";
      setTimeout(() => (button.textContent = label), 1500);
    });
    return button;
  }
}
