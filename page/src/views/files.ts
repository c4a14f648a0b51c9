// The files of the model: a line each, and which of them are compared.

import type { Answers } from "../answer";
import { el, fill, say, set } from "../dom";
import { at, type File } from "../figures";
import type { Question, Questions } from "../question";
import { gb, gib, headline, tps, whole } from "../words";

interface Row {
  file: File;
  row: HTMLTableRowElement;
  choose: HTMLButtonElement;
  compare: HTMLInputElement;
  cells: HTMLTableCellElement[];
}

const COLUMNS = ["Verdict", "GiB", "To spare", "Largest context", "Tokens/s", "File GB", "Bits", "Size known"];

export class FilesView {
  private readonly published = el("table", { class: "list" });
  private readonly own = el("table", { class: "list" });
  private readonly title = el("h2", { id: "files-title" });
  private readonly summary = el("p", { class: "aside" });
  private readonly details = el("details", {}, el("summary"), region("Recipes of the tools", this.own));
  private readonly downloads = region("Files to download", this.published);
  private rows: Row[] = [];
  private shown = "";
  private question: Question | null = null;
  private readonly questions: Questions;

  constructor(
    section: HTMLElement,
    private readonly answers: Answers,
    private readonly choose: (file: number) => void,
    private readonly compare: (name: string, on: boolean) => void,
  ) {
    this.questions = answers.questions;
    fill(section, this.title, this.summary, this.downloads, this.details);
    this.details.addEventListener("toggle", () => this.question && this.show(this.question));
  }

  show(question: Question): void {
    this.question = question;
    const key = `${question.model}.${this.questions.runtime(question)}`;
    if (key !== this.shown) {
      this.shown = key;
      this.build(question);
    }
    let fitting = 0;
    let count = 0;
    for (const row of this.rows) {
      const brief = row.file.published || this.details.open || !this.hasPublished() ? this.update(question, row) : "";
      if (row.file.published === this.hasPublished()) {
        count++;
        if (typeof brief === "object" && brief.verdict === "fits") fitting++;
      }
    }
    const { models } = this.answers.book.figures;
    say(this.title, `Files of ${at(models, question.model).name}`);
    say(this.summary, this.hasPublished() ? `${fitting} of ${count} that publishers ship fit as asked.` : "No publisher's file is known for this engine; what its tools make:");
  }

  private hasPublished(): boolean {
    return this.rows.some((row) => row.file.published);
  }

  private build(question: Question): void {
    const size = (file: File) => {
      const variant = file.variants.get(0);
      return typeof variant === "object" ? variant.loadedBytes : 0;
    };
    const files = this.questions.files(question).map((file, index) => ({ file, index }));
    files.sort((a, b) => size(a.file) - size(b.file));
    this.rows = files.map(({ file, index }) => this.row(file, index));
    const head = () => el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "File"), ...COLUMNS.map((name, index) => el("th", { scope: "col", class: index === 0 || index === 7 ? "words" : "" }, name)), el("th", { scope: "col" }, "Compare")));
    const body = (published: boolean) => el("tbody", {}, ...this.rows.filter((row) => row.file.published === published).map((row) => row.row));
    fill(this.published, el("caption", { class: "off-screen" }, "Files to download"), head(), body(true));
    fill(this.own, el("caption", { class: "off-screen" }, "Recipes of the tools"), head(), body(false));
    this.downloads.hidden = !this.hasPublished();
    const own = this.rows.filter((row) => !row.file.published).length;
    const summary = this.details.querySelector("summary");
    if (summary) say(summary, `${own} recipes of the engine's own tools, to be made by yourself`);
    this.details.hidden = own === 0;
    if (!this.hasPublished()) this.details.open = true;
  }

  private row(file: File, index: number): Row {
    const choose = el("button", { type: "button", class: "plain" }, file.name);
    choose.addEventListener("click", () => this.choose(index));
    const compare = el("input", { type: "checkbox", "aria-label": `Compare ${file.name}` });
    compare.addEventListener("change", () => this.compare(file.name, compare.checked));
    const cells = COLUMNS.map((_, place) => el("td", { class: place === 0 || place === 7 ? "words" : "" }));
    say(at(cells, 7), file.basis);
    const row = el("tr", {}, el("th", { scope: "row" }, choose), ...cells, el("td", { class: "centre" }, compare));
    return { file, row, choose, compare, cells };
  }

  private update(question: Question, { file, row, choose, compare, cells }: Row): ReturnType<Answers["brief"]> {
    const brief = this.answers.brief(question, file);
    const chosen = this.questions.files(question)[question.file] === file;
    row.className = chosen ? "chosen" : "";
    set(choose, "aria-current", chosen ? "true" : null);
    compare.checked = chosen || question.compared.includes(file.name);
    compare.disabled = chosen;
    const variant = file.variants.get(this.questions.option(question, file));
    if (typeof brief === "string" || typeof variant !== "object") {
      cells.slice(0, 7).forEach((cell, place) => say(cell, place ? "" : "not to be had"));
      set(at(cells, 0), "title", typeof brief === "string" ? brief : null);
      at(cells, 0).className = "words";
      return brief;
    }
    const { budget } = this.answers.limit(question);
    say(at(cells, 0), headline(brief.verdict));
    at(cells, 0).className = `words ${brief.verdict}`;
    say(at(cells, 1), gib(brief.total));
    say(at(cells, 2), gib(budget - brief.total));
    say(at(cells, 3), brief.largest ? whole(brief.largest) : "-");
    say(at(cells, 4), brief.decode === null ? "-" : tps(brief.decode));
    say(at(cells, 5), gb(variant.fileBytes, 2));
    say(at(cells, 6), variant.bits.toFixed(2));
    return brief;
  }
}

function region(name: string, table: HTMLElement): HTMLElement {
  return el("div", { class: "scrolls", role: "region", tabindex: 0, "aria-label": name }, table);
}
