// The figures as deployfit wrote them, and the few sums that are made of them.

export interface Limit {
  limit: number;
  budget: number;
  most: (number | null)[]; // by verdict: up to how many bytes; null: any number
  basis: string;
  note: number;
}

// What a chip takes for one of each amount of work, in seconds, and the most bytes that its memory gives in one.
export interface Seconds {
  read_byte: number;
  number: number;
  kernel_flop: number;
  state_byte: number;
  block_us: number;
  cache_byte: number;
  cache_flop: number;
  prompt_flop: number;
  prompt_us: number;
  attention_flop: number;
  step_byte: number;
  most_bytes: number;
}

// The amounts of work of a model, whatever its file.
interface Work {
  state_bytes: number; // for each byte of a state
  block_us: number;
  cache_reads: number;
  cache_flops: number;
  prompt_flops: number;
  prompt_us: number;
  attention_flops: number;
  windows: [tokens: number, flops: number][];
  step_flops: number;
  step_us: number;
  step_tokens: number;
}

interface Interval {
  decode: [number, number];
  prefill: [number, number];
  basis: string;
  note: number;
}

interface App {
  name: string;
  title: string;
  version: string;
  runtime: number;
  options: [boolean, boolean]; // MTP drafting, vision tower
  context_of_slot: boolean; // its context is that of one slot, not of all
}

interface Settings {
  runtime: number;
  step: number;
  sequences: number;
  headline: string; // of the settings in words, with a blank for the context
}

export type Kind = [name: string, label: string, basis: string, where: string, later: boolean, detail: string];

type Run = [first: number, most: number, usual: number, states: number, parts: [kind: number, curve: number][], notes: number[]];

type WrittenFile = [
  name: number,
  publisher: number,
  published: number,
  repo: number,
  basis: number,
  notes: number[],
  forced: [number, number][],
  commands: [number, number][],
  variants: number[][],
];

export interface Engine {
  files: WrittenFile[];
  preferred: number[];
  not_counted: [number, number[][]][];
  work: Work;
  intervals: number[]; // by the row of a chip, -1 where speed is not known
}

export interface Model {
  name: string;
  family: string;
  params: number;
  trained: number;
  has: number; // bits: layers that draft, a vision tower
  options: number[];
  settings: number[][];
  runs: Run[];
  curves: number[][];
  engines: Engine[];
}

export interface Mac {
  chip: string;
  gib: number;
  row: number;
  seconds: (Seconds | null)[];
  why_not: number;
}

export interface Figures {
  schema: string;
  version: string;
  bases: string[];
  verdicts: string[];
  runtimes: string[];
  drafting: ([number, number, number] | null)[];
  caches: [Record<string, string>, string][][];
  slots: string[];
  apps: App[];
  settings: Settings[];
  starts: [app: number, kv: number, slots: number, settings: number][];
  macos: [number, string][];
  memories: { gib: number; limits: Limit[] }[];
  macs: Mac[];
  models: Model[];
  intervals: Interval[];
  parts: Kind[];
  texts: string[];
}

const SCHEMA = "deployfit/figures/1";
export const MTP = 1;
export const VISION = 2;

export async function unpacked(base64: string): Promise<Figures> {
  const binary = atob(base64.trim());
  const bytes = new Uint8Array(binary.length);
  for (let index = 0; index < binary.length; index++) bytes[index] = binary.charCodeAt(index);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const figures: Figures = JSON.parse(await new Response(stream).text());
  if (figures.schema !== SCHEMA) throw new Error(`figures of ${figures.schema}, not ${SCHEMA}`);
  return figures;
}

export function at<T>(list: readonly T[], index: number): T {
  const found = list[index];
  if (found === undefined) throw new RangeError(`no entry ${index} of ${list.length}`);
  return found;
}

// A straight line over the context, counted in steps: from `first` on, `nbytes` there, `perStep` more with each step.
interface Piece {
  first: number;
  nbytes: number;
  perStep: number;
}

function pieces(written: readonly number[]): Piece[] {
  const found: Piece[] = [];
  let before: Piece = { first: 0, nbytes: 0, perStep: 0 };
  for (let index = 0; index < written.length; index += 3) {
    const steps = at(written, index);
    before = {
      first: before.first + steps,
      nbytes: before.nbytes + before.perStep * steps + at(written, index + 1),
      perStep: before.perStep + at(written, index + 2),
    };
    found.push(before);
  }
  return found;
}

export function lineAt(line: readonly Piece[], steps: number): number {
  let low = 0;
  let high = line.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (at(line, middle).first <= steps) low = middle;
    else high = middle - 1;
  }
  const piece = at(line, low);
  return piece.nbytes + piece.perStep * (steps - piece.first);
}

function sum(lines: readonly (readonly Piece[])[]): Piece[] {
  const firsts = [...new Set(lines.flatMap((line) => line.map((piece) => piece.first)))].sort((a, b) => a - b);
  const slope = (line: readonly Piece[], steps: number) => line.findLast((piece) => piece.first <= steps)?.perStep ?? 0;
  return firsts.map((first) => ({
    first,
    nbytes: lines.reduce((total, line) => total + lineAt(line, first), 0),
    perStep: lines.reduce((total, line) => total + slope(line, first), 0),
  }));
}

// What a model allocates beside its weights under some settings, at every context.
export class Allocated {
  readonly lines: { kind: Kind; line: Piece[] }[];
  readonly total: Piece[];
  readonly count: number; // of steps up to the longest context
  constructor(
    readonly first: number,
    readonly step: number,
    readonly most: number, // tokens of the longest context that is of use
    readonly usual: number, // bytes that grow in use when one request at a time is answered
    readonly states: number, // of all sequences
    readonly notes: readonly string[],
    parts: { kind: Kind; line: Piece[] }[],
  ) {
    this.lines = parts;
    this.count = Math.ceil(most / step);
    this.total = sum(parts.filter((part) => !part.kind[4]).map((part) => part.line));
  }

  tokens(steps: number): number {
    return Math.min(steps * this.step, this.most);
  }

  steps(tokens: number): number {
    return Math.min(Math.max(Math.ceil(tokens / this.step), this.first), this.count);
  }

  totalAt(steps: number): number {
    return lineAt(this.total, steps);
  }

  // The last step at which all of it is within so many bytes, 0 if there is none. Lines need not rise.
  lastWithin(bytes: number): number {
    let until = this.count;
    for (let index = this.total.length - 1; index >= 0; index--) {
      const { first, nbytes, perStep } = at(this.total, index);
      const last = nbytes + perStep * (until - first);
      if (last <= bytes) return until;
      if (nbytes <= bytes) return first + Math.floor((bytes - nbytes) / perStep);
      until = first - 1;
    }
    return 0;
  }
}

export interface Variant {
  fileBytes: number;
  bits: number;
  readBytes: number;
  numbers: number;
  kernelFlops: number;
  stepBytes: number;
  loaded: { kind: Kind; nbytes: number }[];
  loadedBytes: number;
}

// A file or recipe of a model.
export interface File {
  name: string;
  publisher: string;
  recipe: string;
  published: boolean;
  repo: string;
  basis: string;
  notes: string[];
  forced: ReadonlyMap<number, number>; // by application: options that it sets itself
  commands: ReadonlyMap<number, string>;
  variants: ReadonlyMap<number, Variant | string>;
}

// Reads figures, each once.
export class Book {
  private readonly runs = new Map<string, Allocated | string>();
  private readonly shelves = new Map<string, File[]>();
  readonly starts: ReadonlyMap<string, number>;

  constructor(readonly figures: Figures) {
    this.starts = new Map(figures.starts.map(([app, kv, slots, settings]) => [`${app}.${kv}.${slots}`, settings]));
  }

  text(place: number): string {
    return at(this.figures.texts, place);
  }

  settings(app: number, kv: number, slots: number): number | undefined {
    return this.starts.get(`${app}.${kv}.${slots}`);
  }

  // What is allocated, or why the settings are refused.
  allocated(model: number, settings: number, option: number): Allocated | string {
    const key = `${model}.${settings}.${option}`;
    let found = this.runs.get(key);
    if (found === undefined) {
      found = this.read(at(this.figures.models, model), settings, option);
      this.runs.set(key, found);
    }
    return found;
  }

  private read(model: Model, settings: number, option: number): Allocated | string {
    const place = at(at(model.settings, settings), model.options.indexOf(option));
    if (place < 0) return this.text(-1 - place);
    const [first, most, usual, states, parts, notes] = at(model.runs, place);
    return new Allocated(
      first,
      at(this.figures.settings, settings).step,
      most,
      usual,
      states,
      notes.map((note) => this.text(note)),
      parts.map(([kind, curve]) => ({ kind: at(this.figures.parts, kind), line: pieces(at(model.curves, curve)) })),
    );
  }

  // The files of a model that a runtime loads.
  files(model: number, runtime: number): File[] {
    const key = `${model}.${runtime}`;
    let found = this.shelves.get(key);
    if (!found) {
      const engine = at(at(this.figures.models, model).engines, runtime);
      found = engine.files.map((file) => this.file(file));
      this.shelves.set(key, found);
    }
    return found;
  }

  // The files to choose from, best first.
  preferred(model: number, runtime: number): File[] {
    const files = this.files(model, runtime);
    return at(at(this.figures.models, model).engines, runtime).preferred.map((place) => at(files, place));
  }

  notCounted(model: number, app: number, option: number): string[] {
    const engine = at(at(this.figures.models, model).engines, at(this.figures.apps, app).runtime);
    const lines = engine.not_counted.find(([place]) => place === app)?.[1].find(([place]) => place === option);
    return (lines ?? []).slice(1).map((place) => this.text(place));
  }

  private file(written: WrittenFile): File {
    const [name, publisher, published, repo, basis, notes, forced, commands, variants] = written;
    const full = this.text(name);
    const owner = this.text(publisher);
    return {
      name: full,
      publisher: owner,
      recipe: owner ? full.slice(owner.length + 1) : full,
      published: published === 1,
      repo: this.text(repo),
      basis: at(this.figures.bases, basis),
      notes: notes.map((note) => this.text(note)),
      forced: new Map(forced),
      commands: new Map(commands.map(([app, command]) => [app, this.text(command)])),
      variants: new Map(variants.map(([option, ...numbers]) => [option as number, this.variant(numbers)])),
    };
  }

  private variant(numbers: readonly number[]): Variant | string {
    if (numbers.length === 1) return this.text(at(numbers, 0));
    const loaded = [];
    for (let index = 6; index < numbers.length; index += 2) {
      loaded.push({ kind: at(this.figures.parts, at(numbers, index)), nbytes: at(numbers, index + 1) });
    }
    return {
      fileBytes: at(numbers, 0),
      bits: at(numbers, 1) / 100,
      readBytes: at(numbers, 2),
      numbers: at(numbers, 3),
      kernelFlops: at(numbers, 4),
      stepBytes: at(numbers, 5),
      loaded,
      loadedBytes: loaded.filter((part) => !part.kind[4]).reduce((total, part) => total + part.nbytes, 0),
    };
  }
}
