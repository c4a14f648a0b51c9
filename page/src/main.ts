// Puts the page together: a question in, its answer in every view.

import { Answers } from "./answer";
import { byId, el, fill, say } from "./dom";
import { at, Book, type Figures, unpacked } from "./figures";
import { parse, type Question, Questions, type Wish } from "./question";
import { FilesView } from "./views/files";
import { FormView } from "./views/form";
import { GridView } from "./views/grid";
import { showKnown } from "./views/known";
import { MemoryView } from "./views/memory";
import { macTitle, VerdictView, verdictSentence } from "./views/verdict";

const LINK_DELAY = 200; // milliseconds after which the address follows what is shown

class Page {
  private question: Question;
  private timer = 0;
  private waiting = 0;
  private linked = "";
  private readonly questions: Questions;
  private readonly answers: Answers;
  private readonly form: FormView;
  private readonly verdict: VerdictView;
  private readonly memory: MemoryView;
  private readonly files: FilesView;
  private readonly grid: GridView;

  constructor(private readonly figures: Figures) {
    const book = new Book(figures);
    this.questions = new Questions(book);
    this.answers = new Answers(book, this.questions);
    const slide = (tokens: number) => this.slide(tokens);
    this.form = new FormView(this.answers, (changed) => this.ask(changed), slide);
    this.verdict = new VerdictView(byId("verdict"), this.answers, (question) => this.take(question));
    this.memory = new MemoryView(byId("memory"), this.answers, slide);
    this.files = new FilesView(byId("files"), this.answers, (file) => this.ask({ quant: at(this.questions.files(this.question), file).name }), (name, on) => this.compare(name, on));
    this.grid = new GridView(byId("grid"), this.answers, (model) => this.ask({ model }), (model, quant, memory) => {
      const mac = `${at(this.figures.memories, memory).gib}`;
      this.ask({ model, mac, ...(quant === null ? {} : { quant }) });
    });
    const { wish, changes } = parse(location.hash);
    const settled = this.questions.settle(wish, changes);
    this.question = settled.question;
    for (const id of ["verdict", "memory", "files", "grid", "known"]) byId(id).hidden = false;
    byId("waiting").remove();
    this.show(settled.changes);
    addEventListener("hashchange", (event) => this.follow(new URL(event.newURL).hash));
    fill(byId("footer"), el("p", {}, `deployfit ${figures.version}, ${figures.models.length} models. Apache-2.0; drawn with uPlot, MIT.`));
  }

  // Reads the address, unless it is what is shown already or a place on the page.
  private follow(hash: string): void {
    if (hash === this.linked || document.getElementById(hash.slice(1))) return;
    const { wish, changes } = parse(hash);
    const settled = this.questions.settle(wish, changes);
    this.question = settled.question;
    this.show(settled.changes);
  }

  // Changes a part of the question; the rest stays as far as it can.
  private ask(changed: Wish): void {
    const wish = Object.fromEntries(Object.entries({ ...this.questions.wish(this.question), ...changed }).filter(([, value]) => value !== undefined));
    if (changed.model !== undefined && changed.model !== at(this.figures.models, this.question.model).name && changed.quant === undefined) {
      const names = this.namesOf(changed.model);
      if (!names.includes(wish.quant ?? "")) delete wish.quant; // a file of another model is no wish
      delete wish.compare;
    }
    if (changed.app !== undefined) {
      const app = this.figures.apps.findIndex((each) => each.name === changed.app && this.figures.runtimes[each.runtime] === changed.runtime);
      if (app >= 0 && at(this.figures.apps, app).runtime !== this.questions.runtime(this.question)) {
        for (const name of ["quant", "compare", "kv_type", "kv_bits", "parallel", "mtp"] as const) delete wish[name];
      } else delete wish.parallel;
    }
    const settled = this.questions.settle(wish);
    this.question = settled.question;
    this.show(settled.changes);
  }

  private namesOf(model: string): string[] {
    const place = this.figures.models.findIndex((each) => each.name === model);
    return place < 0 ? [] : this.answers.book.files(place, this.questions.runtime(this.question)).map((file) => file.name);
  }

  private take(question: Question): void {
    this.question = question;
    this.show([]);
    byId("answer").focus();
  }

  private slide(tokens: number): void {
    const file = at(this.questions.files(this.question), this.question.file);
    const allocated = this.questions.allocated(this.question, file);
    if (typeof allocated === "string") return;
    this.question = { ...this.question, context: allocated.tokens(allocated.steps(Math.round(tokens))) };
    if (!this.waiting) {
      this.waiting = requestAnimationFrame(() => {
        this.waiting = 0;
        this.show([]);
      });
    }
  }

  private compare(name: string, on: boolean): void {
    const others = this.question.compared.filter((each) => each !== name);
    this.question = { ...this.question, compared: on ? [...others, name].slice(-6) : others };
    this.show([]);
  }

  private show(changes: readonly string[]): void {
    fill(byId("changes"), changes.length > 0 && el("ul", {}, ...changes.map((line) => el("li", {}, line))));
    this.form.show(this.question);
    const answer = this.answers.of(this.question);
    const short = byId("short");
    if (typeof answer === "string") {
      this.verdict.refused(this.question, answer);
      say(short, "Not to be had");
      short.className = "bad";
    } else {
      say(short, verdictSentence(answer).join(", "));
      short.className = answer.verdict;
      this.verdict.show(answer);
      this.memory.show(this.question);
      this.files.show(this.question);
      this.grid.show(this.question);
      showKnown(byId("known"), answer, this.figures.version);
      document.title = `${answer.verdict.replaceAll("_", " ")}: ${at(this.figures.models, this.question.model).name} on ${macTitle(this.questions, this.question)}`;
    }
    document.documentElement.dataset.shown = `${Number(document.documentElement.dataset.shown ?? 0) + 1}`;
    this.linked = "";
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.linked = this.questions.link(this.question);
      history.replaceState(null, "", this.linked);
    }, LINK_DELAY);
  }
}

unpacked(byId("figures").textContent ?? "").then(
  (figures) => new Page(figures),
  (error: unknown) => fill(byId("waiting"), `The figures cannot be read: ${error instanceof Error ? error.message : "unknown"}. A browser of 2023 or later is needed.`),
);
