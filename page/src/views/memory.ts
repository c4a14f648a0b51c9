// Memory over the context: files beside each other, and the chosen one with other KV caches.

import uPlot from "uplot";
import type { Answers } from "../answer";
import { el, figure, fill, say } from "../dom";
import { type Allocated, at, type File } from "../figures";
import type { Question, Questions } from "../question";
import { gib, shortTokens, whole } from "../words";

interface Line {
  label: string;
  colour: number;
  dashed: boolean;
  allocated: Allocated;
  loaded: number;
}

const HEIGHT = 300;
const GIB = 2 ** 30;

export class MemoryView {
  private readonly drawing = el("div", { class: "chart", role: "img" });
  private readonly legend = el("ul", { class: "legend" });
  private readonly table = el("table");
  private readonly details = el("details", {}, el("summary", {}, "As a table"), el("div", { class: "scrolls", role: "region", tabindex: 0, "aria-label": "Memory over the context, as a table" }, this.table));
  private chart: uPlot | null = null;
  private lines: Line[] = [];
  private question: Question | null = null;
  private shown = "";
  private hovered = 0;
  private readonly questions: Questions;

  constructor(
    section: HTMLElement,
    private readonly answers: Answers,
    private readonly slide: (tokens: number) => void,
  ) {
    this.questions = answers.questions;
    fill(
      section,
      el("h2", { id: "memory-title" }, "Memory over the context"),
      el("p", { class: "aside" }, "What each file takes, in GiB. The dashed lines are the chosen file with other KV caches; files to compare are ticked in the table below."),
      this.drawing,
      this.legend,
      this.details,
    );
    new ResizeObserver(() => this.resize()).observe(this.drawing);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    for (const event of ["beforeprint", "afterprint"]) {
      addEventListener(event, () => {
        document.documentElement.classList.toggle("printing", event === "beforeprint"); // paper is white
        this.draw();
      });
    }
    this.details.addEventListener("toggle", () => this.tabulate());
  }

  show(question: Question): void {
    this.question = question;
    const key = JSON.stringify({ ...question, context: 0 });
    if (key !== this.shown) {
      this.shown = key;
      this.lines = this.linesOf(question);
      this.draw();
    } else this.chart?.redraw(false);
    this.say();
    this.tabulate();
  }

  private linesOf(question: Question): Line[] {
    const { caches } = this.answers.book.figures;
    const files = this.questions.files(question);
    const chosen = at(files, question.file);
    const lines: Line[] = [];
    const add = (asked: Question, file: File, label: string, colour: number, dashed: boolean) => {
      const variant = file.variants.get(this.questions.option(asked, file));
      const allocated = this.questions.allocated(asked, file);
      if (typeof variant === "object" && typeof allocated === "object") lines.push({ label, colour, dashed, allocated, loaded: variant.loadedBytes });
    };
    add(question, chosen, chosen.name, 0, false);
    at(caches, this.questions.runtime(question)).forEach(([, label], kv) => {
      if (kv !== question.kv && !this.questions.refusal(question.model, question.app, kv, question.slots)) {
        add({ ...question, kv }, chosen, `${chosen.name}, ${label}`, 0, true);
      }
    });
    question.compared.forEach((name, index) => {
      const file = files.find((each) => each.name === name);
      if (file) add(question, file, name, index + 1, false);
    });
    return lines;
  }

  private draw(): void {
    this.chart?.destroy();
    this.chart = null;
    const width = this.drawing.clientWidth;
    if (!this.lines.length || !width || !this.question) return;
    const style = getComputedStyle(this.drawing);
    const colour = (name: string) => style.getPropertyValue(name).trim();
    const corners = new Set<number>();
    for (const { allocated } of this.lines) {
      allocated.total.forEach((piece, index) => {
        corners.add(allocated.tokens(piece.first));
        const next = allocated.total[index + 1];
        corners.add(allocated.tokens(next ? next.first - 1 : allocated.count));
      });
    }
    const xs = [...corners].sort((a, b) => a - b);
    const ys = this.lines.map(({ allocated, loaded }) => xs.map((tokens) => (loaded + allocated.totalAt(allocated.steps(tokens))) / GIB));
    const { limit } = this.answers.limit(this.question);
    const highest = Math.max(...ys.flat());
    const top = limit / GIB <= 1.6 * highest ? Math.max(highest, limit / GIB) : highest;
    const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 }, font: "12px system-ui, sans-serif" };
    this.chart = new uPlot(
      {
        width,
        height: HEIGHT,
        padding: [12, 16, 0, 0],
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false, setScale: false }, points: { size: 6 } },
        scales: { x: { time: false, range: [0, at(xs, xs.length - 1)] }, y: { range: [0, 1.1 * top] } },
        axes: [
          { ...axis, splits: (u) => ticks(at(xs, xs.length - 1), u.width), values: (_, values) => values.map(shortTokens) },
          { ...axis, size: 44, values: (_, values) => values.map((value) => `${value}`) },
        ],
        series: [
          {},
          ...this.lines.map((line) => ({
            stroke: colour(`--line-${line.colour}`),
            width: line.dashed ? 1.5 : 2.5,
            ...(line.dashed ? { dash: [6, 5] } : {}),
            points: { show: false },
          })),
        ],
        hooks: {
          draw: [(u) => this.marks(u, colour)],
          setCursor: [
            (u) => {
              const tokens = u.cursor.left !== undefined && u.cursor.left >= 0 ? u.posToVal(u.cursor.left, "x") : 0;
              this.hovered = Math.max(0, tokens);
              this.say();
            },
          ],
        },
      },
      [xs, ...ys],
      this.drawing,
    );
    this.chart.over.addEventListener("click", () => {
      if (this.hovered > 0) this.slide(this.hovered);
    });
  }

  // The limit, the reserve below it, and the context that is asked about.
  private marks(u: uPlot, colour: (name: string) => string): void {
    const question = this.question;
    if (!question) return;
    const { limit, budget } = this.answers.limit(question);
    const { ctx, bbox } = u;
    const ratio = devicePixelRatio || 1;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    const [low, high] = [u.valToPos(Math.max(0, budget) / GIB, "y", true), u.valToPos(limit / GIB, "y", true)];
    ctx.fillStyle = colour("--reserve");
    ctx.fillRect(bbox.left, high, bbox.width, low - high);
    ctx.setLineDash([]);
    ctx.strokeStyle = colour("--bad");
    ctx.lineWidth = 1.5 * ratio;
    ctx.beginPath();
    ctx.moveTo(bbox.left, high);
    ctx.lineTo(bbox.left + bbox.width, high);
    ctx.stroke();
    const x = u.valToPos(question.context, "x", true);
    ctx.strokeStyle = colour("--quiet");
    ctx.setLineDash([3 * ratio, 3 * ratio]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.setLineDash([]);
    ctx.fillStyle = colour("--bad");
    ctx.font = `${12 * ratio}px system-ui, sans-serif`;
    ctx.textAlign = "left";
    ctx.textBaseline = "bottom";
    ctx.strokeStyle = colour("--back"); // around the letters, so that lines behind them disturb nobody
    ctx.lineWidth = 4 * ratio;
    for (const draw of ["strokeText", "fillText"] as const) {
      if (high > bbox.top) ctx[draw](`GPU limit ${gib(limit)} GiB`, bbox.left + 6 * ratio, high - 3 * ratio);
    }
    ctx.restore();
  }

  private say(): void {
    const question = this.question;
    if (!question) return;
    const tokens = this.hovered || question.context;
    const sized = this.lines.map((line) => {
      const steps = line.allocated.steps(tokens);
      return { ...line, total: line.loaded + line.allocated.totalAt(steps), tokens: line.allocated.tokens(steps) };
    });
    if (this.legend.childElementCount !== sized.length + 1) {
      fill(this.legend, el("li"), ...sized.map(() => el("li", {}, el("span", { class: "swatch" }), el("span"))));
    }
    const [head, ...items] = this.legend.children;
    if (head) say(head, `At ${whole(sized[0]?.tokens ?? tokens)} tokens:`);
    sized.forEach((line, index) => {
      const item = items[index];
      const [swatch, text] = item?.children ?? [];
      if (swatch) swatch.className = `swatch stroke-${line.colour}${line.dashed ? " dashed" : ""}`;
      if (text) say(text, `${line.label}: ${gib(line.total)} GiB`);
    });
    const first = sized[0];
    if (first) {
      const low = first.loaded + first.allocated.totalAt(first.allocated.first);
      const high = first.loaded + first.allocated.totalAt(first.allocated.count);
      this.drawing.ariaLabel = `Lines of memory over the context. ${first.label} takes ${gib(low)} GiB at ${whole(first.allocated.tokens(first.allocated.first))} tokens and ${gib(high)} GiB at ${whole(first.allocated.most)}; the GPU limit is ${gib(this.answers.limit(question).limit)} GiB. The table below has more.`;
    }
  }

  private tabulate(): void {
    const question = this.question;
    const first = this.lines[0];
    if (!this.details.open || !question || !first) return;
    const contexts = new Set([question.context, first.allocated.most]);
    for (let tokens = 4096; tokens < first.allocated.most; tokens *= 2) contexts.add(first.allocated.tokens(first.allocated.steps(tokens)));
    const rows = [...contexts].sort((a, b) => a - b);
    fill(
      this.table,
      el("caption", {}, `GiB by context; the GPU limit is ${gib(this.answers.limit(question).limit)} GiB`),
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Tokens"), ...this.lines.map((line) => el("th", { scope: "col" }, line.label)))),
      el(
        "tbody",
        {},
        ...rows.map((tokens) =>
          el(
            "tr",
            { class: tokens === question.context ? "chosen" : "" },
            el("th", { scope: "row" }, whole(tokens)),
            ...this.lines.map(({ allocated, loaded }) => {
              const total = loaded + allocated.totalAt(allocated.steps(tokens));
              return el("td", {}, figure(total, gib(total)));
            }),
          ),
        ),
      ),
    );
  }

  private resize(): void {
    const width = this.drawing.clientWidth;
    if (!this.chart) this.draw();
    else if (width && width !== this.chart.width) this.chart.setSize({ width, height: HEIGHT });
  }
}

// At most as many marks as have room, at powers of two or multiples of one.
function ticks(most: number, width: number): number[] {
  let step = 1024;
  while (most / step > Math.max(3, width / 90)) step *= 2;
  const found = [];
  for (let tokens = 0; tokens <= most; tokens += step) found.push(tokens);
  return found;
}
