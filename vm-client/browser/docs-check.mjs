// Checks the JavaScript in the guides and READMEs against the types of the npm package: `node docs-check.mjs`. Part of the suite
// `types`.

import { readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

import ts from "typescript";

const here = fileURLToPath(new URL(".", import.meta.url));
const root = fileURLToPath(new URL("../../", import.meta.url));
const pages = [
  ...readdirSync(`${here}docs`).map((name) => `${here}docs/${name}`),
  `${here}npm/README.md`,
  `${root}README.md`,
].filter((name) => name.endsWith(".md") && !name.endsWith("/api.md"));

/** Names that a page leaves to its reader are no mistakes: Cannot find name. */
const LEFT_OPEN = new Set([2304, 18004]);

/** Blocks of JavaScript: fenced ones, and indented ones that import the package. Each keeps the lines it has in its page. */
const blocks = new Map();
for (const page of pages) {
  const lines = readFileSync(page, "utf8").split("\n");
  // What a guide has imported or made once it may use further down.
  let fence = null;
  const code = lines.map((line) => {
    if (line.startsWith("```")) {
      fence = fence === null ? line.slice(3).trim() : null;
      return "";
    }
    return fence === "js" ? line : "";
  });
  const start = lines.findIndex((line) => /^ {4}import .* from "skiff-vm/.test(line));
  for (let at = start; start >= 0 && (/^ {4}/.test(lines[at] ?? "") || lines[at] === ""); at += 1) code[at] = lines[at].slice(4);
  if (code.some(Boolean)) blocks.set(`${page}.mjs`, `${code.join("\n")}\nexport {};\n`);
}

const options = {
  allowJs: true,
  checkJs: true,
  // Examples know what is on their page.
  strict: false,
  noEmit: true,
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  lib: ["lib.es2022.d.ts", "lib.dom.d.ts", "lib.dom.iterable.d.ts", "lib.dom.asynciterable.d.ts"],
  types: ["node"],
  typeRoots: [`${root}node_modules/@types`],
  skipLibCheck: true,
  paths: { "skiff-vm": [`${here}npm/index.d.ts`], "skiff-vm/*": [`${here}npm/*.d.ts`] },
};
const host = ts.createCompilerHost(options);
const { readFile, fileExists } = host;
host.readFile = (name) => blocks.get(name) ?? readFile.call(host, name);
host.fileExists = (name) => blocks.has(name) || fileExists.call(host, name);
host.getSourceFile = (name, version) => {
  const text = host.readFile(name);
  return text === undefined ? undefined : ts.createSourceFile(name, text, version, true);
};
const program = ts.createProgram([...blocks.keys()], options, host);
// A page may name one thing in two examples.
const twice = new Set([2451, 2300]);
const wrong = ts.getPreEmitDiagnostics(program).filter(({ code }) => !LEFT_OPEN.has(code) && !twice.has(code));
for (const { file, start, messageText } of wrong) {
  const where = file ? `${file.fileName.slice(0, -4).slice(root.length)}:${file.getLineAndCharacterOfPosition(start).line + 1}` : "";
  console.error(`${where}: ${ts.flattenDiagnosticMessageText(messageText, " ")}`);
}
console.log(`${blocks.size} pages with examples, ${wrong.length} mistakes`);
process.exit(wrong.length ? 1 : 0);
