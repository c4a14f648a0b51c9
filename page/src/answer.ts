// The answer to a question: parts added up, set against what the Mac lends to its GPU.

import { type Allocated, at, type Book, type File, type Kind, type Limit, lineAt, MTP, type Terms, type Variant } from "./figures";
import type { Question, Questions } from "./question";

export interface Part {
  kind: Kind;
  nbytes: number;
}

export interface Rate {
  tps: number;
  low: number;
  high: number;
}

export interface Speed {
  decode: Rate;
  full: Rate;
  prefill: Rate;
  basis: string;
  note: string;
  drafting: [number, number, number] | null;
}

export interface Answer {
  question: Question;
  file: File;
  variant: Variant;
  allocated: Allocated;
  parts: Part[];
  later: Part[];
  total: number;
  limit: Limit;
  verdict: string;
  largest: number; // tokens, 0 if none fits
  speed: Speed | null;
  noSpeed: string;
  notes: string[];
  notCounted: string[];
}

// A short answer, of which there are many at once.
export interface Brief {
  total: number;
  verdict: string;
  largest: number;
  decode: number | null;
}

export class Answers {
  constructor(
    readonly book: Book,
    readonly questions: Questions,
  ) {}

  limit(question: Question): Limit {
    return at(at(this.book.figures.memories, this.questions.memory(question)).limits, question.macos);
  }

  // What may be taken at the start: what grows in use is ordinary memory, of which the Mac's is the limit.
  budget(limit: Limit, usual: number): number {
    return Math.min(limit.budget, limit.memory - usual);
  }

  verdict(limit: Limit, total: number, usual: number): string {
    if (total <= this.budget(limit, usual)) return at(this.book.figures.verdicts, 0);
    const place = limit.most.findIndex((most, index) => index > 0 && (most === null || total <= most));
    return at(this.book.figures.verdicts, place);
  }

  // The answer for a file of the question's model; why there is none, as a text.
  of(question: Question, file: File = at(this.questions.files(question), question.file)): Answer | string {
    const option = this.questions.option(question, file);
    const variant = file.variants.get(option);
    if (typeof variant !== "object") return variant ?? "not to be had with these options";
    const allocated = this.questions.allocated(question, file);
    if (typeof allocated === "string") return allocated;
    const steps = allocated.steps(question.context);
    const all = [
      ...variant.loaded,
      ...allocated.lines.map(({ kind, line }) => ({ kind, nbytes: lineAt(line, steps) })),
    ];
    const parts = all.filter((part) => !part.kind[4]);
    const total = parts.reduce((sum, part) => sum + part.nbytes, 0);
    const limit = this.limit(question);
    const verdict = this.verdict(limit, total, allocated.usual);
    const chip = this.questions.chip(question);
    const terms = chip ? at(chip.terms, this.questions.runtime(question)) : null;
    return {
      question,
      file,
      variant,
      allocated,
      parts,
      later: all.filter((part) => part.kind[4] && part.nbytes > 0),
      total,
      limit,
      verdict,
      largest: allocated.tokens(allocated.lastWithin(this.budget(limit, allocated.usual) - variant.loadedBytes)) || 0,
      speed: terms ? this.speed(question, terms, variant, allocated, (option & MTP) !== 0) : null,
      noSpeed: chip ? this.book.text(chip.why_not) : "the chip decides: choose a Mac with its chip",
      notes: [...file.notes, ...allocated.notes],
      notCounted: this.book.notCounted(question.model, question.app, option),
    };
  }

  brief(question: Question, file: File): Brief | string {
    const variant = file.variants.get(this.questions.option(question, file));
    if (typeof variant !== "object") return variant ?? "not to be had with these options";
    const allocated = this.questions.allocated(question, file);
    if (typeof allocated === "string") return allocated;
    const steps = allocated.steps(question.context);
    const total = variant.loadedBytes + allocated.totalAt(steps);
    const limit = this.limit(question);
    const chip = this.questions.chip(question);
    const terms = chip ? at(chip.terms, this.questions.runtime(question)) : null;
    return {
      total,
      verdict: this.verdict(limit, total, allocated.usual),
      largest: allocated.tokens(allocated.lastWithin(this.budget(limit, allocated.usual) - variant.loadedBytes)) || 0,
      decode: terms ? 1 / this.decodeSeconds(question, terms, variant, allocated, 0) : null,
    };
  }

  private decodeSeconds(question: Question, terms: Terms, variant: Variant, allocated: Allocated, cache: number): number {
    const [layers = 0, moe = 0] = this.work(question);
    const sequences = at(this.book.figures.settings, this.questions.settings(question)).sequences;
    const state = Math.floor(named(allocated, "recurrent_state", allocated.steps(question.context)) / allocated.states);
    return (
      (variant.readBytes + 2 * state) * terms.read_byte +
      Math.floor(cache / sequences) * terms.cache_byte +
      layers * at(terms.layer, moe) +
      variant.kernelFlops * terms.kernel_flop
    );
  }

  private work(question: Question): readonly number[] {
    return at(at(this.book.figures.models, question.model).engines, this.questions.runtime(question)).work;
  }

  private speed(question: Question, terms: Terms, variant: Variant, allocated: Allocated, drafted: boolean): Speed {
    const [, moe = 0, params = 0, attention = 0] = this.work(question);
    const steps = allocated.steps(question.context);
    const most = terms.most_bytes / variant.readBytes;
    const rate = (seconds: number, [low, high]: [number, number], cap = Infinity): Rate => ({
      tps: 1 / seconds,
      low: low / seconds,
      high: Math.min(high / seconds, cap),
    });
    const prefill = params * at(terms.param, moe) + attention * terms.attention_flop * question.context;
    return {
      decode: rate(this.decodeSeconds(question, terms, variant, allocated, 0), terms.decode, most),
      full: rate(this.decodeSeconds(question, terms, variant, allocated, named(allocated, "kv_cache", steps)), terms.decode, most),
      prefill: rate(prefill, terms.prefill),
      basis: terms.basis,
      note: this.book.text(terms.note),
      drafting: drafted ? at(this.book.figures.drafting, this.questions.runtime(question)) : null,
    };
  }
}

function named(allocated: Allocated, name: string, steps: number): number {
  return allocated.lines.reduce((sum, { kind, line }) => sum + (kind[0] === name ? lineAt(line, steps) : 0), 0);
}
