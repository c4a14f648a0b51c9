// The form: what can be chosen, and nothing that cannot be answered.

import type { Answers } from "../answer";
import { stopOf, stops } from "../contexts";
import { byId, el, fill, say, set } from "../dom";
import { at, type File, MTP, VISION } from "../figures";
import type { Question, Questions, Wish } from "../question";
import { gb, params, shortTokens, whole } from "../words";

export class FormView {
  private readonly model = byId<HTMLSelectElement>("model");
  private readonly app = byId<HTMLSelectElement>("app");
  private readonly file = byId<HTMLSelectElement>("file");
  private readonly mac = byId<HTMLSelectElement>("mac");
  private readonly macos = byId<HTMLSelectElement>("macos");
  private readonly kv = byId<HTMLSelectElement>("kv");
  private readonly slots = byId<HTMLSelectElement>("slots");
  private readonly tokens = byId<HTMLInputElement>("tokens");
  private readonly context = byId<HTMLInputElement>("context");
  private readonly vision = byId<HTMLInputElement>("vision");
  private readonly mtp = byId<HTMLInputElement>("mtp");
  private stops: number[] = [];
  private shownFiles = "";
  private shownSettings = "";
  private readonly questions: Questions;

  // `ask` takes a wish with some of it changed; `slide` a context that is one of the stops.
  constructor(
    private readonly answers: Answers,
    ask: (changed: Wish) => void,
    slide: (tokens: number) => void,
  ) {
    this.questions = answers.questions;
    this.fixed();
    const { figures } = answers.book;
    const on = (select: HTMLSelectElement, wish: (value: string) => Wish) => select.addEventListener("change", () => ask(wish(select.value)));
    on(this.model, (model) => ({ model }));
    on(this.app, (value) => {
      const app = at(figures.apps, Number(value));
      return { app: app.name, runtime: at(figures.runtimes, app.runtime) };
    });
    on(this.file, (quant) => ({ quant }));
    on(this.mac, (mac) => ({ mac }));
    on(this.macos, (macos) => ({ macos }));
    on(this.kv, (value) => {
      const typed = at(at(figures.caches, at(figures.apps, Number(this.app.value)).runtime), Number(value))[0];
      return { kv_type: undefined, kv_bits: undefined, ...typed };
    });
    on(this.slots, (value) => ({ parallel: value || undefined }));
    this.tokens.addEventListener("change", () => ask({ context: this.tokens.value }));
    this.context.addEventListener("input", () => slide(at(this.stops, Number(this.context.value))));
    this.vision.addEventListener("change", () => ask({ vision: this.vision.checked ? "1" : "0" }));
    this.mtp.addEventListener("change", () => ask({ mtp: this.mtp.checked ? "1" : "0" }));
    byId("form").addEventListener("submit", (event) => event.preventDefault());
  }

  private fixed(): void {
    const { models, macs, memories, macos } = this.answers.book.figures;
    const families = [...new Set(models.map((model) => model.family))];
    fill(
      this.model,
      ...families.map((family) =>
        el(
          "optgroup",
          { label: family || "Others" },
          ...models.filter((model) => model.family === family).map((model) => el("option", { value: model.name }, `${model.name} (${params(model.params)})`)),
        ),
      ),
    );
    const chips = [...new Set(macs.map((mac) => mac.chip))];
    fill(
      this.mac,
      el("optgroup", { label: "Memory only, without speed" }, ...memories.map(({ gib }) => el("option", { value: `${gib}` }, `${gib} GB`))),
      ...chips.map((chip) =>
        el("optgroup", { label: chip }, ...macs.filter((mac) => mac.chip === chip).map((mac) => el("option", { value: `${mac.chip} ${mac.gib}` }, `${mac.chip}, ${mac.gib} GB`))),
      ),
    );
    fill(this.macos, ...macos.map(([version, name]) => el("option", { value: version }, name.replace("macOS ", ""))));
  }

  show(question: Question): void {
    const { figures } = this.answers.book;
    const model = at(figures.models, question.model);
    this.model.value = model.name;
    this.settings(question);
    this.files(question);
    this.mac.value = this.questions.macName(question);
    this.macos.value = `${at(figures.macos, question.macos)[0]}`;
    this.options(question);
    this.contexts(question);
  }

  // Options are made anew only where they differ: a list that is open stays open.
  private settings(question: Question): void {
    const { figures } = this.answers.book;
    const key = `${question.model}.${question.app}.${question.kv}.${question.slots}`;
    if (key !== this.shownSettings) {
      this.shownSettings = key;
      fill(
        this.app,
        ...figures.runtimes.map((runtime, place) =>
          el(
            "optgroup",
            { label: runtime },
            ...figures.apps.flatMap((app, index) =>
              app.runtime === place ? [el("option", { value: index, disabled: !this.questions.startOf(question.model, index) }, app.title)] : [],
            ),
          ),
        ),
      );
      const runtime = this.questions.runtime(question);
      fill(
        this.kv,
        ...at(figures.caches, runtime).map(([, label], kv) =>
          el("option", { value: kv, disabled: this.questions.refusal(question.model, question.app, kv, question.slots) !== "" }, label.replace(/^KV /, "")),
        ),
      );
      fill(
        this.slots,
        ...figures.slots.flatMap((number, slots) => {
          if (this.answers.book.settings(question.app, question.kv, slots) === undefined) return [];
          const refused = this.questions.refusal(question.model, question.app, question.kv, slots) !== "";
          return [el("option", { value: number, disabled: refused }, number || this.usualSlots(question))];
        }),
      );
    }
    this.app.value = `${question.app}`;
    this.kv.value = `${question.kv}`;
    this.slots.value = at(figures.slots, question.slots);
    this.slots.disabled = this.slots.options.length < 2;
  }

  private usualSlots(question: Question): string {
    const place = this.answers.book.settings(question.app, question.kv, 0);
    if (place === undefined) return "as usual";
    return `usual: ${at(this.answers.book.figures.settings, place).sequences}`;
  }

  private files(question: Question): void {
    const files = this.questions.files(question);
    const key = `${question.model}.${this.questions.runtime(question)}`;
    if (key !== this.shownFiles) {
      this.shownFiles = key;
      const option = (file: File) => {
        const variant = file.variants.get(0);
        const size = typeof variant === "object" ? `, ${gb(variant.fileBytes)} GB` : "";
        return el("option", { value: file.name }, `${file.publisher} ${file.recipe}${size}`.trim());
      };
      const groups = new Map<string, File[]>();
      for (const file of files) {
        const name = file.published ? file.publisher : "Made by yourself";
        groups.set(name, [...(groups.get(name) ?? []), file]);
      }
      fill(this.file, ...[...groups].map(([label, own]) => el("optgroup", { label }, ...own.map(option))));
    }
    this.file.value = files[question.file]?.name ?? "";
  }

  private options(question: Question): void {
    const { models, apps } = this.answers.book.figures;
    const model = at(models, question.model);
    const app = at(apps, question.app);
    const file = this.questions.files(question)[question.file];
    const forced = file?.forced.get(question.app) ?? 0;
    for (const [box, bit, place, on] of [
      [this.mtp, MTP, 0, question.mtp],
      [this.vision, VISION, 1, question.vision],
    ] as const) {
      box.checked = on || (forced & bit) !== 0;
      box.disabled = !(model.has & bit) || !app.options[place] || (forced & bit) !== 0 || typeof file?.variants.get(bit) !== "object";
    }
  }

  private contexts(question: Question): void {
    const file = this.questions.files(question)[question.file];
    const found = file && this.questions.allocated(question, file);
    if (typeof found !== "object") return;
    this.stops = stops(found);
    set(this.context, "max", this.stops.length - 1);
    this.context.value = `${stopOf(this.stops, question.context)}`;
    set(this.context, "aria-valuetext", `${whole(question.context)} tokens`);
    if (document.activeElement !== this.tokens || this.tokens.value !== `${question.context}`) this.tokens.value = whole(question.context);
    say(byId("least"), shortTokens(at(this.stops, 0)));
    say(byId("trained"), found.most === at(this.answers.book.figures.models, question.model).trained ? `${shortTokens(found.most)} trained` : shortTokens(found.most));
  }
}
