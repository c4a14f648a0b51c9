// Builds the bundle that the wheel ships: one script, one style sheet, one skeleton, and a digest of the sources.
import { createHash } from "node:crypto";
import { readFile, readdir, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const into = process.argv[2] ?? join(here, "..", "deployfit", "page");

async function sources() {
  const names = await readdir(join(here, "src"), { recursive: true, withFileTypes: true });
  const found = names.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return [...found, ...["build.mjs", "package.json", "package-lock.json", "tsconfig.json"].map((name) => join(here, name))]
    .map((path) => relative(here, path).replaceAll("\\", "/"))
    .sort();
}

async function digest() {
  const hash = createHash("sha256");
  for (const name of await sources()) {
    const content = await readFile(join(here, name));
    hash.update(`${name}\n${content.length}\n`).update(content);
  }
  return hash.digest("hex");
}

const licence = await readFile(join(here, "LICENSE-uPlot"), "utf8"); // that of the wheel, and of the package
if (licence !== (await readFile(join(here, "node_modules", "uplot", "LICENSE"), "utf8"))) throw new Error("LICENSE-uPlot is not uPlot's");
const banner = `/*!\nThe page holds uPlot, https://github.com/leeoniya/uPlot\n\n${licence.trim()}\n*/`;
const common = { bundle: true, minify: true, legalComments: "inline", charset: "ascii", logLevel: "warning" };
await build({
  ...common,
  entryPoints: [join(here, "src", "main.ts")],
  outfile: join(into, "bundle.js"),
  format: "iife",
  target: "es2022",
  banner: { js: banner },
});
await build({ ...common, entryPoints: [join(here, "src", "style.css")], outfile: join(into, "bundle.css") });
await writeFile(join(into, "bundle.html"), await readFile(join(here, "src", "skeleton.html")));
await writeFile(join(into, "bundle.sources"), `${await digest()}\n`);
