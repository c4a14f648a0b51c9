// Models by memory: the file that deployfit would choose among those that fit, else how near the smallest comes.

import type { Answers } from "../answer";
import { el, fill, say, set } from "../dom";
import { at, type File } from "../figures";
import type { Question, Questions } from "../question";
import { headline, shortTokens } from "../words";

const SHORT: Record<string, string> = { tight: "tight", needs_raised_limit: "raise", does_not_fit: "no" };

interface Row {
  model: number;
  row: HTMLTableRowElement;
  cells: HTMLTableCellElement[];
}

interface Cell {
  verdict: string;
  file: File | null;
  said: string;
}

export class GridView {
  private readonly table = el("table", { class: "grid" });
  private readonly summary = el("p", { class: "aside" });
  private rows: Row[] = [];
  private heads: HTMLTableCellElement[] = [];
  private readonly questions: Questions;

  constructor(
    section: HTMLElement,
    private readonly answers: Answers,
    private readonly chooseModel: (model: string) => void,
    choose: (model: string, quant: string | null, memory: number) => void,
  ) {
    this.questions = answers.questions;
    const scrolls = el("div", { class: "scrolls", role: "region", tabindex: 0, "aria-label": "Models by memory, the table" }, this.table);
    fill(section, el("h2", { id: "grid-title" }, "Models by memory"), this.summary, scrolls);
    this.build();
    // For the mouse only: a row's button and the form do the same.
    this.table.addEventListener("click", (event) => {
      const cell = event.target instanceof Element ? event.target.closest("td") : null;
      const place = this.rows.findIndex(({ cells }) => cell !== null && cells.includes(cell));
      const row = this.rows[place];
      if (cell && row) choose(this.name(row.model), cell.dataset.file ?? null, row.cells.indexOf(cell));
    });
  }

  private name(model: number): string {
    return at(this.answers.book.figures.models, model).name;
  }

  private build(): void {
    const { models, memories } = this.answers.book.figures;
    this.heads = memories.map(({ gib }) => el("th", { scope: "col" }, `${gib} GB`));
    this.rows = models.map((model, place) => {
      const button = el("button", { type: "button", class: "plain" }, model.name);
      button.addEventListener("click", () => this.chooseModel(model.name));
      const cells = memories.map(() => el("td"));
      return { model: place, cells, row: el("tr", {}, el("th", { scope: "row" }, button), ...cells) };
    });
    fill(
      this.table,
      el("caption", { class: "off-screen" }, "The file that fits, by model and memory"),
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Model"), ...this.heads)),
      el("tbody", {}, ...this.rows.map(({ row }) => row)),
    );
  }

  show(question: Question): void {
    const { figures } = this.answers.book;
    const memory = this.questions.memory(question);
    this.heads.forEach((head, index) => set(head, "class", index === memory ? "chosen" : null));
    say(
      this.summary,
      `With ${at(figures.apps, question.app).title}, ${shortTokens(question.context)} tokens and ${at(figures.macos, question.macos)[1]}: the best file that fits by the cited evidence, else how near the smallest comes. “raise” needs a raised GPU limit.`,
    );
    for (const { model, row, cells } of this.rows) {
      set(row, "class", model === question.model ? "chosen" : null);
      const found = this.cellsOf(question, model);
      cells.forEach((cell, index) => {
        const { verdict, file, said } = at(found, index);
        say(cell, said);
        set(cell, "class", verdict + (index === memory ? " here" : ""));
        set(cell, "data-file", file?.name);
        set(cell, "title", file ? `${file.name}: ${headline(verdict)}` : null);
      });
    }
  }

  cellsOf(question: Question, model: number): Cell[] {
    const { figures } = this.answers.book;
    const { memories } = figures;
    const same = (cell: Cell): Cell[] => memories.map(() => cell);
    const slots = this.questions.refusal(model, question.app, question.kv, question.slots) === "" ? question.slots : -1;
    const kv = slots < 0 ? this.questions.startOf(model, question.app) : [question.kv, slots];
    if (!kv) return same({ verdict: "refused", file: null, said: "-" });
    const asked: Question = { ...question, model, file: 0, kv: at(kv, 0), slots: at(kv, 1), mtp: false, vision: false };
    const sized: { file: File; total: number }[] = [];
    for (const file of this.answers.book.preferred(model, this.questions.runtime(asked))) {
      const allocated = this.questions.allocated(asked, file);
      const variant = file.variants.get(this.questions.option(asked, file));
      if (typeof allocated !== "object" || typeof variant !== "object") continue;
      if (asked.context > allocated.most) return same({ verdict: "untrained", file: null, said: `≤ ${shortTokens(allocated.most)}` });
      sized.push({ file, total: variant.loadedBytes + allocated.totalAt(allocated.steps(asked.context)) });
    }
    const smallest = sized.reduce<(typeof sized)[number] | null>((least, each) => (least && least.total <= each.total ? least : each), null);
    if (!smallest) return same({ verdict: "refused", file: null, said: "-" });
    return memories.map((each) => {
      const limit = at(each.limits, question.macos);
      const fits = sized.find(({ total }) => this.answers.verdict(limit, total) === "fits");
      if (fits) return { verdict: "fits", file: fits.file, said: fits.file.recipe };
      const verdict = this.answers.verdict(limit, smallest.total);
      return { verdict, file: smallest.file, said: SHORT[verdict] ?? headline(verdict) };
    });
  }
}
