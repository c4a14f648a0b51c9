// The answer to a question: parts added up, set against what the Mac lends to its GPU.

import { type Allocated, at, type Book, type Engine, type File, type Kind, type Limit, lineAt, MTP, type Seconds, type Variant } from "./figures";
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
interface Brief {
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

  verdict(limit: Limit, total: number): string {
    const place = limit.most.findIndex((most) => most === null || total <= most);
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
    const verdict = this.verdict(limit, total);
    const chip = this.questions.chip(question);
    const seconds = chip ? at(chip.seconds, this.questions.runtime(question)) : null;
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
      largest: allocated.tokens(allocated.lastWithin(limit.budget - variant.loadedBytes)) || 0,
      speed: chip && seconds ? this.speed(question, chip.row, seconds, variant, allocated, (option & MTP) !== 0) : null,
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
    const seconds = chip ? at(chip.seconds, this.questions.runtime(question)) : null;
    return {
      total,
      verdict: this.verdict(limit, total),
      largest: allocated.tokens(allocated.lastWithin(limit.budget - variant.loadedBytes)) || 0,
      decode: seconds ? 1 / this.decodeSeconds(question, seconds, variant, allocated, 0) : null,
    };
  }

  private decodeSeconds(question: Question, seconds: Seconds, variant: Variant, allocated: Allocated, cache: number): number {
    const { work } = this.engine(question);
    const sequences = at(this.book.figures.settings, this.questions.settings(question)).sequences;
    const state = Math.floor(named(allocated, "recurrent_state", allocated.steps(question.context)) / allocated.states);
    return (
      variant.readBytes * seconds.read_byte +
      variant.numbers * seconds.number +
      variant.kernelFlops * seconds.kernel_flop +
      work.state_bytes * state * seconds.state_byte +
      work.block_us * seconds.block_us +
      Math.floor(cache / sequences) * (work.cache_reads * seconds.cache_byte + work.cache_flops * seconds.cache_flop)
    );
  }

  // On average of each token of a prompt.
  private prefillSeconds(question: Question, seconds: Seconds, variant: Variant): number {
    const { work } = this.engine(question);
    const tokens = question.context;
    const attention = work.windows.reduce((sum, [window, flops]) => sum + flops * Math.min(tokens / 2, window), (work.attention_flops * tokens) / 2);
    const step = variant.stepBytes * seconds.step_byte + work.step_flops * seconds.prompt_flop + work.step_us * seconds.prompt_us;
    return (
      work.prompt_flops * seconds.prompt_flop +
      work.prompt_us * seconds.prompt_us +
      attention * seconds.attention_flop +
      step / Math.min(tokens, work.step_tokens)
    );
  }

  private engine(question: Question): Engine {
    return at(at(this.book.figures.models, question.model).engines, this.questions.runtime(question));
  }

  private speed(question: Question, row: number, seconds: Seconds, variant: Variant, allocated: Allocated, drafted: boolean): Speed {
    const interval = at(this.book.figures.intervals, at(this.engine(question).intervals, row));
    const cache = named(allocated, "kv_cache", allocated.steps(question.context));
    const most = seconds.most_bytes / variant.readBytes;
    const rate = (took: number, [low, high]: [number, number], cap = Infinity): Rate => ({
      tps: 1 / took,
      low: low / took,
      high: Math.min(high / took, cap),
    });
    return {
      decode: rate(this.decodeSeconds(question, seconds, variant, allocated, 0), interval.decode, most),
      full: rate(this.decodeSeconds(question, seconds, variant, allocated, cache), interval.decode, most),
      prefill: rate(this.prefillSeconds(question, seconds, variant), interval.prefill),
      basis: interval.basis,
      note: this.book.text(interval.note),
      drafting: drafted ? at(this.book.figures.drafting, this.questions.runtime(question)) : null,
    };
  }
}

function named(allocated: Allocated, name: string, steps: number): number {
  return allocated.lines.reduce((sum, { kind, line }) => sum + (kind[0] === name ? lineAt(line, steps) : 0), 0);
}
