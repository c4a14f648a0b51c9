// What is not counted, what should be known, and how each figure is known.

import type { Answer } from "../answer";
import { el, fill } from "../dom";

const BASES: [string, string][] = [
  ["exact", "counted as the engine counts it; tests hold it equal to the engine's own figure, to the byte"],
  ["derived", "follows from a rule that is tested against measurements, with a stated error"],
  ["measured", "observed and written down, with a source"],
  ["assumed", "nobody was seen to observe it; the best guess, said to be one"],
];

export function showKnown(section: HTMLElement, answer: Answer, version: string): void {
  const list = (title: string, lines: readonly string[]) => (lines.length ? [el("h3", {}, title), el("ul", {}, ...lines.map((line) => el("li", {}, line)))] : []);
  fill(
    section,
    el("h2", { id: "known-title" }, "What is behind it"),
    ...list("Not counted", answer.notCounted),
    ...list("Note", answer.notes),
    el("h3", {}, "How a figure is known"),
    el("dl", { class: "bases" }, ...BASES.flatMap(([name, said]) => [el("dt", {}, name), el("dd", {}, said)])),
    el(
      "p",
      { class: "aside" },
      `Figures of deployfit ${version}. The verdict compares the total with the GPU limit less the reserve: fits; with the limit: tight; with what the limit can be raised to. `,
      "The page adds up what deployfit computed, weights by file and straight lines over the context, and has no rules of its own; the context that an application would choose by itself, drafts by other models and several Macs together are questions for the command line.",
    ),
  );
}
