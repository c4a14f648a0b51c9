// A question: what the form and a link hold. Whatever comes in, the nearest question that can be answered comes out,
// with a line for everything that was changed.

import { type Allocated, at, type Book, type File, type Mac, MTP, VISION } from "./figures";
import { printable, shortTokens, whole } from "./words";

export interface Question {
  model: number;
  app: number;
  file: number;
  mac: number; // a position in `macs`, or -1 - one in `memories` where only the memory is said
  macos: number;
  context: number; // tokens
  kv: number;
  slots: number;
  mtp: boolean;
  vision: boolean;
  compared: string[]; // names of files
}

// What is wished for, by name and unchecked; what is missing is the usual.
export type Wish = { [Name in (typeof NAMES)[number]]?: string | undefined };

const NAMES = [
  "model",
  "quant",
  "mac",
  "macos",
  "app",
  "runtime",
  "context",
  "kv_type",
  "kv_bits",
  "parallel",
  "mtp",
  "vision",
  "compare",
  "v",
] as const;

const VERSION = "1"; // of links
const MOST_COMPARED = 6;
const LONGEST_LINK = 2000;
const DEFAULTS = { model: "Qwen3.5-27B", quant: "unsloth:UD-Q4_K_XL", mac: "M4 Pro 48", context: "32768" };

interface Settled {
  question: Question;
  changes: string[];
}

// Reads a link's part after #. Names that are not known are told of, what is too long is not read.
export function parse(hash: string): { wish: Wish; changes: string[] } {
  const changes: string[] = [];
  const wish: Wish = {};
  let text = hash.replace(/^#/, "");
  if (text.length > LONGEST_LINK) {
    changes.push(`The link is ${whole(text.length)} characters long; only the first ${whole(LONGEST_LINK)} were read.`);
    text = text.slice(0, LONGEST_LINK);
  }
  for (const [name, value] of new URLSearchParams(text)) {
    const known = NAMES.find((each) => each === name);
    if (!known) changes.push(`The link says “${printable(name)}”, which this page does not know.`);
    else if (wish[known] === undefined) wish[known] = value;
  }
  if (wish.v !== undefined && wish.v !== VERSION) {
    changes.push(`The link was made by another version of this page (${printable(wish.v)}); what it says was read as far as it is known.`);
  }
  return { wish, changes: changes.slice(0, 8) };
}

export class Questions {
  readonly macNames: string[];
  readonly memoryNames: string[];

  constructor(readonly book: Book) {
    const { macs, memories } = book.figures;
    this.macNames = macs.map((mac) => `${mac.chip} ${mac.gib}`);
    this.memoryNames = memories.map((memory) => `${memory.gib}`);
  }

  chip(question: Question): Mac | undefined {
    return question.mac < 0 ? undefined : at(this.book.figures.macs, question.mac);
  }

  memory(question: Question): number {
    if (question.mac < 0) return -1 - question.mac;
    const gib = at(this.book.figures.macs, question.mac).gib;
    return this.book.figures.memories.findIndex((memory) => memory.gib === gib);
  }

  macName(question: Question): string {
    return question.mac < 0 ? at(this.memoryNames, -1 - question.mac) : at(this.macNames, question.mac);
  }

  runtime(question: { app: number }): number {
    return at(this.book.figures.apps, question.app).runtime;
  }

  files(question: { model: number; app: number }): File[] {
    return this.book.files(question.model, this.runtime(question));
  }

  // The options that hold: those that were asked for, and those that the application sets by itself.
  option(question: Question, file: File): number {
    const asked = (question.mtp ? MTP : 0) | (question.vision ? VISION : 0);
    return asked | (file.forced.get(question.app) ?? 0);
  }

  settings(question: { app: number; kv: number; slots: number }): number {
    return this.book.settings(question.app, question.kv, question.slots) ?? -1;
  }

  // Whether nothing is asked for beside model, file and context: then the application's own command starts it.
  isUsual({ app, kv, slots, mtp, vision }: Question): boolean {
    const [typed] = at(at(this.book.figures.caches, this.runtime({ app })), kv);
    return !Object.keys(typed).length && !slots && !mtp && !vision;
  }

  // What is allocated beside the weights; why not, where the settings are refused.
  allocated(question: Question, file: File): Allocated | string {
    const settings = this.settings(question);
    return settings < 0 ? "there is no such setting" : this.book.allocated(question.model, settings, this.option(question, file));
  }

  // A question as a wish: what a link holds.
  wish(question: Question): Wish {
    const { models, apps, macos, runtimes, caches, slots } = this.book.figures;
    const app = at(apps, question.app);
    const wish: Wish = {
      v: VERSION,
      model: at(models, question.model).name,
      quant: at(this.files(question), question.file).name,
      mac: this.macName(question),
      macos: `${at(macos, question.macos)[0]}`,
      app: app.name,
      runtime: at(runtimes, app.runtime),
      context: `${question.context}`,
    };
    Object.assign(wish, at(at(caches, app.runtime), question.kv)[0]);
    if (question.slots) wish.parallel = at(slots, question.slots);
    if (question.mtp) wish.mtp = "1";
    if (question.vision) wish.vision = "1";
    if (question.compared.length) wish.compare = question.compared.join(",");
    return wish;
  }

  link(question: Question): string {
    return `#${new URLSearchParams(this.wish(question) as Record<string, string>)}`;
  }

  // The nearest question that can be answered, and what was changed for it.
  settle(wish: Wish, changes: string[] = []): Settled {
    const { models, apps, macos, runtimes } = this.book.figures;
    const change = (what: string, asked: string, why: string, taken: string) =>
      changes.push(`${what} “${printable(asked)}” ${why}; this is ${taken}.`);
    const pick = (what: string, asked: string | undefined, names: readonly string[], usual: number): number => {
      if (asked === undefined) return usual;
      const exact = names.findIndex((name) => name.toLowerCase() === asked.trim().toLowerCase());
      if (exact >= 0) return exact;
      const near = nearest(asked, names);
      const found = near < 0 ? usual : near;
      change(what, asked, "is not known here", at(names, found));
      return found;
    };

    const names = models.map((model) => model.name);
    const model = pick("Model", wish.model, names, Math.max(0, names.indexOf(DEFAULTS.model)));

    const app = this.settleApp(model, wish, pick, change);
    const runtime = at(apps, app).runtime;
    const { kv, slots, mtp, vision } = this.settleSettings(model, app, runtime, wish, changes, pick);

    const macNames = [...this.macNames, ...this.memoryNames];
    const usualMac = Math.max(0, this.macNames.indexOf(DEFAULTS.mac));
    const chosen = pick("Mac", wish.mac?.replace(/\s*(gb|gib)$/i, "").replace(/\s+/g, " "), macNames, usualMac);
    const mac = chosen < this.macNames.length ? chosen : -1 - (chosen - this.macNames.length);
    const version = pick("macOS", wish.macos?.replace(/\..*$/, ""), macos.map(([name]) => `${name}`), 0);

    const question: Question = { model, app, file: 0, mac, macos: version, context: 0, kv, slots, mtp, vision, compared: [] };
    question.context = this.settleContext(question, wish.context, change);
    question.file = this.settleFile(question, Object.keys(wish).length ? wish.quant : DEFAULTS.quant, pick, change);
    const file = at(this.files(question), question.file);
    const variant = file.variants.get(this.option(question, file));
    if (typeof variant === "string") {
      changes.push(`${file.name}: ${variant}; this is without drafting and vision tower.`);
      [question.mtp, question.vision] = [false, false];
    }
    question.context = this.settleContext(question, `${question.context}`, change);
    const known = new Set(this.files(question).map((each) => each.name));
    const compared = (wish.compare ?? "").split(",").filter(Boolean);
    question.compared = [...new Set(compared)].filter((name) => known.has(name) && name !== file.name).slice(0, MOST_COMPARED);
    const lost = compared.filter((name) => !known.has(name)).length;
    if (lost) changes.push(`${lost === 1 ? "A file" : `${lost} files`} to compare with ${lost === 1 ? "is" : "are"} not known for this model and ${at(runtimes, runtime)}.`);
    return { question, changes };
  }

  private settleApp(
    model: number,
    wish: Wish,
    pick: (what: string, asked: string | undefined, names: readonly string[], usual: number) => number,
    change: (what: string, asked: string, why: string, taken: string) => void,
  ): number {
    const { apps, runtimes } = this.book.figures;
    const runs = (index: number) => this.book.files(model, at(apps, index).runtime).length > 0 && this.startOf(model, index) !== undefined;
    const usual = Math.max(0, apps.findIndex((_, index) => runs(index)));
    const asked = wish.runtime === undefined ? -1 : pick("Engine", wish.runtime, runtimes, at(apps, usual).runtime);
    if (wish.app === undefined) {
      const ofRuntime = apps.findIndex((app, index) => app.runtime === asked && runs(index));
      return ofRuntime < 0 ? usual : ofRuntime;
    }
    const names = [...new Set(apps.map((app) => app.name))];
    const name = at(names, pick("Application", wish.app, names, names.indexOf(at(apps, usual).name)));
    const mine = apps.map((app, index) => ({ app, index })).filter(({ app }) => app.name === name);
    const found = mine.find(({ app }) => app.runtime === asked) ?? mine.find(({ index }) => runs(index)) ?? at(mine, 0);
    if (runs(found.index)) return found.index;
    change("Application", found.app.title, `does not run ${at(this.book.figures.models, model).name}`, at(apps, usual).title);
    return usual;
  }

  // The first KV cache and slots that an application can be started with, for a model.
  startOf(model: number, app: number): [number, number] | undefined {
    for (const [place, kv, slots, settings] of this.book.figures.starts) {
      if (place === app && typeof this.book.allocated(model, settings, 0) !== "string") return [kv, slots];
    }
    return undefined;
  }

  // Why a KV cache and a number of slots cannot be had, "" if they can.
  refusal(model: number, app: number, kv: number, slots: number): string {
    const settings = this.book.settings(app, kv, slots);
    if (settings === undefined) return `${at(this.book.figures.apps, app).title} has no such setting`;
    const found = this.book.allocated(model, settings, 0);
    return typeof found === "string" ? found : "";
  }

  private settleSettings(
    model: number,
    app: number,
    runtime: number,
    wish: Wish,
    changes: string[],
    pick: (what: string, asked: string | undefined, names: readonly string[], usual: number) => number,
  ): { kv: number; slots: number; mtp: boolean; vision: boolean } {
    const { caches, slots: numbers, apps, models } = this.book.figures;
    const own = at(caches, runtime);
    const [usualKv, usualSlots] = this.startOf(model, app) ?? [0, 0];
    const parameter = Object.keys(own.map(([typed]) => typed).find((typed) => Object.keys(typed).length) ?? {})[0];
    const names = own.map(([typed, label]) => Object.values(typed)[0] ?? label.replace(/^KV /, "").replace(/ bits$/, ""));
    const asked = wish.kv_type !== undefined && parameter === "kv_type" ? wish.kv_type : parameter === "kv_bits" ? wish.kv_bits : undefined;
    let kv = pick("KV cache", asked, names, usualKv);
    let slots = wish.parallel === undefined ? 0 : Math.max(0, numbers.indexOf(wish.parallel.trim()));
    if (wish.parallel !== undefined && !slots) {
      slots = /^\d{1,9}$/.test(wish.parallel) ? nearestNumber(Number(wish.parallel), numbers.map(Number)) : 0;
      changes.push(`Slots “${printable(wish.parallel)}”: this page has ${numbers.filter(Boolean).join(", ")}; this is ${slots ? at(numbers, slots) : "what the application chooses"}.`);
    }
    const reason = this.refusal(model, app, kv, slots);
    if (reason) {
      if (!this.refusal(model, app, kv, usualSlots)) slots = usualSlots;
      else if (!this.refusal(model, app, usualKv, slots)) kv = usualKv;
      else [kv, slots] = [usualKv, usualSlots];
      changes.push(`${printable(at(models, model).name)}: ${reason}; this is ${at(own, kv)[1]}, ${slots ? `slots: ${at(numbers, slots)}` : `slots as ${at(apps, app).title} has them`}.`);
    }
    const option = (name: "mtp" | "vision", bit: number, place: 0 | 1, what: string): boolean => {
      const wished = wish[name];
      if (wished === undefined || wished === "0") return false;
      if (wished !== "1") changes.push(`${what} is “${printable(wished)}” in the link; 1 and 0 are known. This is without.`);
      else if (!(at(models, model).has & bit)) changes.push(`${at(models, model).name} has no ${what}; this is without.`);
      else if (!at(apps, app).options[place]) changes.push(`${at(apps, app).title} has no option for a ${what}; this is without.`);
      else return true;
      return false;
    };
    return {
      kv,
      slots,
      mtp: option("mtp", MTP, 0, "layer for MTP drafting"),
      vision: option("vision", VISION, 1, "vision tower"),
    };
  }

  private settleContext(question: Question, asked: string | undefined, change: (what: string, asked: string, why: string, taken: string) => void): number {
    const file = this.files(question)[question.file];
    const found = file ? this.allocated(question, file) : "no file";
    const { trained } = at(this.book.figures.models, question.model);
    if (typeof found === "string") return trained;
    const { most } = found;
    const typed = asked === undefined ? Math.min(Number(DEFAULTS.context), trained) : tokensOf(asked, most);
    if (Number.isNaN(typed)) {
      const usual = found.tokens(found.steps(Math.min(Number(DEFAULTS.context), trained)));
      change("Context", asked ?? "", "is not a number of tokens", shortTokens(usual));
      return usual;
    }
    const tokens = found.tokens(found.steps(typed));
    if (asked !== undefined && tokens !== typed) {
      const why = typed > most ? `is more than the ${whole(most)} tokens that are of use` : `is not one of the steps of ${whole(found.step)} tokens in which caches grow here`;
      change("Context", asked, why, `${whole(tokens)} tokens`);
    }
    return tokens;
  }

  private settleFile(
    question: Question,
    asked: string | undefined,
    pick: (what: string, asked: string | undefined, names: readonly string[], usual: number) => number,
    change: (what: string, asked: string, why: string, taken: string) => void,
  ): number {
    const files = this.files(question);
    const usual = this.usualFile(question);
    const names = files.map((file) => file.name);
    if (asked === undefined) return usual;
    const folded = asked.trim().toLowerCase();
    if (!names.some((name) => name.toLowerCase() === folded)) {
      // The same recipe of somebody else is nearer than another of the same publisher.
      const recipe = folded.slice(folded.lastIndexOf(":") + 1);
      const alike = files.findIndex((file) => file.recipe.toLowerCase() === recipe);
      if (alike >= 0) {
        change("File", asked, `is not known for ${at(this.book.figures.models, question.model).name}`, at(names, alike));
        return alike;
      }
    }
    return pick("File", asked, names, usual);
  }

  // The best file that fits, else the smallest.
  private usualFile(question: Question): number {
    const files = this.files(question);
    const memory = at(this.book.figures.memories, this.memory(question));
    const budget = at(memory.limits, question.macos).budget;
    const order = this.book.preferred(question.model, this.runtime(question));
    const total = (file: File): number => {
      const found = this.allocated(question, file);
      const variant = file.variants.get(this.option(question, file));
      if (typeof found === "string" || typeof variant !== "object") return Infinity;
      return variant.loadedBytes + found.totalAt(found.steps(question.context));
    };
    const chosen = order.find((file) => total(file) <= budget) ?? [...order].sort((a, b) => total(a) - total(b))[0];
    return Math.max(0, files.findIndex((file) => file === chosen));
  }
}

function tokensOf(text: string, most: number): number {
  const folded = text.trim().toLowerCase().replaceAll(",", "");
  if (folded === "max") return most;
  const match = /^(\d{1,12})(k|m)?$/.exec(folded);
  return match ? Number(match[1]) * (match[2] === "k" ? 1024 : match[2] === "m" ? 1024 ** 2 : 1) : Number.NaN;
}

function nearestNumber(asked: number, numbers: readonly number[]): number {
  let best = 1;
  for (let index = 2; index < numbers.length; index++) {
    if (Math.abs(at(numbers, index) - asked) < Math.abs(at(numbers, best) - asked)) best = index;
  }
  return best;
}

// The most similar name by pairs of letters, -1 where nothing is alike.
function nearest(asked: string, names: readonly string[]): number {
  const wanted = pairs(asked.slice(0, 80));
  let best = -1;
  let most = 0.3;
  names.forEach((name, index) => {
    const own = pairs(name);
    const shared = [...wanted].filter((pair) => own.has(pair)).length;
    const alike = (2 * shared) / (wanted.size + own.size || 1);
    if (alike > most) [best, most] = [index, alike];
  });
  return best;
}

function pairs(text: string): Set<string> {
  const folded = ` ${text.toLowerCase().replace(/[^a-z0-9.]+/g, " ").trim()} `;
  const found = new Set<string>();
  for (let index = 0; index + 1 < folded.length; index++) found.add(folded.slice(index, index + 2));
  return found;
}
