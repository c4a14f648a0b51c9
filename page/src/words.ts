// Numbers and names as people read them.

const GIB = 2 ** 30;
const GB = 1e9;

export const gib = (bytes: number, digits = 2): string => (bytes / GIB).toFixed(digits);
export const gb = (bytes: number, digits = 1): string => (bytes / GB).toFixed(digits);
export const whole = (count: number): string => count.toLocaleString("en-US");
export const tps = (rate: number): string => rate.toFixed(rate < 10 ? 1 : 0);
export const headline = (verdict: string): string => verdict.replaceAll("_", " ");

// 32768 as 32k, where that says all of it.
export function shortTokens(tokens: number): string {
  return tokens >= 1024 && tokens % 1024 === 0 ? `${whole(tokens / 1024)}k` : whole(tokens);
}

export function duration(seconds: number): string {
  const rounded = Math.round(seconds);
  if (rounded < 1) return `${seconds.toFixed(1)} s`;
  const [minutes, rest] = [Math.floor(rounded / 60), rounded % 60];
  if (minutes >= 120) return `${Math.round(minutes / 60)} hours`;
  return minutes ? `${minutes} min ${rest} s` : `${rest} s`;
}

const MOST_SHOWN = 60;

// A text from a link as one short line in which everything that cannot be seen is spelled out.
export function printable(text: string): string {
  const cut = text.length > MOST_SHOWN ? `${text.slice(0, MOST_SHOWN)}...` : text;
  return cut.replace(/[\p{C}\p{Z}]/gu, (char) => (char === " " ? char : `\\u{${char.codePointAt(0)?.toString(16)}}`));
}

export function params(count: number): string {
  return count >= 1e12 ? `${(count / 1e12).toFixed(1)}T` : count >= 1e9 ? `${+(count / 1e9).toFixed(1)}B` : `${Math.round(count / 1e6)}M`;
}
