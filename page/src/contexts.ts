// Where the slider stops: sixteen places between a power of two and the next, and the longest context.

import type { Allocated } from "./figures";

const STOPS = 16;
const LEAST = 1024;

export function stops(allocated: Allocated): number[] {
  const least = allocated.tokens(Math.max(allocated.first, Math.ceil(Math.min(LEAST, allocated.most) / allocated.step)));
  const found = new Set([least, allocated.most]);
  for (let octave = LEAST; octave < allocated.most; octave *= 2) {
    for (let part = 0; part < STOPS; part++) {
      const tokens = octave + (octave / STOPS) * part;
      if (tokens > least && tokens < allocated.most && tokens % allocated.step === 0) found.add(tokens);
    }
  }
  return [...found].sort((a, b) => a - b);
}

// The last stop that is not beyond a context.
export function stopOf(list: readonly number[], tokens: number): number {
  return Math.max(0, list.findLastIndex((stop) => stop <= tokens));
}
