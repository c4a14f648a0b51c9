// The bar: parts beside each other, against the limit and what is kept free below it.

import type { Answer } from "../answer";
import { el } from "../dom";
import { gib } from "../words";

// Parts of one name are one piece of the bar, in the order in which they come.
interface Share {
  name: string;
  label: string;
  nbytes: number;
}

const COLOURS: Record<string, string> = {
  weights: "weights",
  kv_cache: "cache",
  recurrent_state: "state",
  compute: "compute",
  output: "compute",
  vision: "vision",
  image: "vision",
};

export const colourOf = (name: string): string => COLOURS[name] ?? (name.startsWith("draft") ? "draft" : "other");

export function shares(answer: Answer): Share[] {
  const found = new Map<string, Share>();
  for (const { kind, nbytes } of answer.parts) {
    const label = kind[1];
    const known = found.get(label);
    if (known) known.nbytes += nbytes;
    else found.set(label, { name: kind[0], label, nbytes });
  }
  return [...found.values()].filter((share) => share.nbytes > 0);
}

export function bar(answer: Answer): HTMLElement {
  const { limit, budget } = answer.limit;
  const whole = Math.max(answer.total, limit);
  const percent = (bytes: number) => `${(100 * bytes) / whole}%`;
  const parts = shares(answer);
  const track = el("div", { class: "track" });
  let begin = 0;
  for (const share of parts) {
    const piece = el("span", { class: `piece fill-${colourOf(share.name)}`, title: `${share.label}: ${gib(share.nbytes)} GiB` });
    piece.style.left = percent(begin);
    piece.style.width = percent(share.nbytes);
    if (share.nbytes > whole / 9) piece.append(el("span", {}, `${share.label} ${gib(share.nbytes)}`));
    track.append(piece);
    begin += share.nbytes;
  }
  const reserve = el("span", { class: "reserve", title: `reserve: ${gib(limit - budget)} GiB` });
  reserve.style.left = percent(Math.max(0, budget));
  reserve.style.width = percent(limit - Math.max(0, budget));
  const over = el("span", { class: "over" });
  over.style.left = percent(limit);
  over.style.width = percent(Math.max(0, answer.total - limit));
  const mark = el("span", { class: "limit" });
  mark.style.left = percent(limit);
  track.append(reserve, over, mark);
  const said = parts.map((share) => `${share.label} ${gib(share.nbytes)}`).join(", ");
  const sentence = `${gib(answer.total)} of ${gib(limit)} GiB that the GPU may use: ${said}; ${gib(limit - budget)} are the reserve`;
  const scale = el(
    "div",
    { class: "scale", "aria-hidden": "true" },
    el("span", {}, `needs ${gib(answer.total)} GiB`),
    el("span", {}, `reserve ${gib(limit - budget)}, GPU limit ${gib(limit)} GiB`),
  );
  return el("div", { class: "bar" }, Object.assign(track, { role: "img", ariaLabel: sentence }), scale);
}
