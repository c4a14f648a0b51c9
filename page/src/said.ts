// An answer as a command line and as numbers: what the buttons copy.

import type { Answer, Answers } from "./answer";
import { at } from "./figures";
import type { Question } from "./question";

const quoted = (text: string): string => (/[^\w.,:/+@=-]/.test(text) ? `'${text.replaceAll("'", "'\\''")}'` : text);

export function commandLine(answers: Answers, answer: Answer): string {
  const { question } = answer;
  const { model, quant, mac, macos, app, runtime, context, kv_type, kv_bits, parallel, mtp, vision } = answers.questions.wish(question);
  const words = ["deployfit", "fit", quoted(model ?? "")];
  const option = (name: string, value: string | undefined) => {
    if (value !== undefined) words.push(`--${name.replaceAll("_", "-")}`, quoted(value));
  };
  option("quant", quant);
  option("mac", mac);
  if (question.macos > 0) option("macos", macos);
  option("app", app);
  // Tools of two engines may call a recipe alike; a publisher's file says by itself which engine is meant.
  if (!answer.file.published && answers.questions.runtime(question) > 0) option("runtime", runtime);
  option("context", typedContext(answers, question, context));
  for (const [name, value] of Object.entries({ kv_type, kv_bits, parallel })) option(name, value);
  if (mtp) words.push("--mtp");
  if (vision) words.push("--vision");
  return words.join(" ");
}

// The page's context is that of all slots together.
function typedContext(answers: Answers, question: Question, context: string | undefined): string | undefined {
  const { figures } = answers.book;
  const { sequences } = at(figures.settings, answers.questions.settings(question));
  return context !== undefined && at(figures.apps, question.app).context_of_slot ? `${Number(context) / sequences}` : context;
}

export function numbers(answers: Answers, answer: Answer): string {
  const { limit, budget } = answer.limit;
  const rows: [string, string | number][] = [
    ["question", commandLine(answers, answer)],
    ["version", answers.book.figures.version],
    ...answer.parts.map(({ kind, nbytes }): [string, number] => [`${kind[1]}${kind[3] === "host" ? " (host)" : ""} bytes`, nbytes]),
    ["total bytes", answer.total],
    ["GPU limit bytes", limit],
    ["reserve bytes", limit - budget],
    ["verdict", answer.verdict],
    ["largest context tokens", answer.largest],
  ];
  const { speed } = answer;
  if (speed) {
    for (const [name, rate] of [["decode", speed.decode], ["decode with the whole context", speed.full], ["prefill", speed.prefill]] as const) {
      rows.push([`${name} tokens/s`, `${rate.tps.toPrecision(4)} (${rate.low.toPrecision(4)} to ${rate.high.toPrecision(4)})`]);
    }
  }
  return rows.map(([name, value]) => `${name}\t${value}`).join("\n");
}
