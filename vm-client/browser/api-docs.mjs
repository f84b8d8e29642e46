// Writes docs/api.md from the types of the npm package: `node api-docs.mjs`; with `--check` it only tells whether the file is as
// it would be written. Part of the suite `types`.

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import ts from "typescript";

const here = fileURLToPath(new URL(".", import.meta.url));
const out = `${here}docs/api.md`;
const PARTS = [
  ["npm/index.d.ts", "skiff-vm"],
  ["npm/terminal.d.ts", "skiff-vm/terminal"],
  ["npm/node.d.ts", "skiff-vm/node"],
  ["npm/protocol.d.ts", "skiff-vm/protocol", ["Failure", "Stats"]],
];

const lines = [
  "# API",
  "",
  "Generated from the types by `node vm-client/browser/api-docs.mjs`; do not edit.",
];
for (const [file, title, only] of PARTS) {
  const source = ts.createSourceFile(file, readFileSync(here + file, "utf8"), ts.ScriptTarget.Latest, true);
  lines.push("", `## ${title}`);
  for (const statement of source.statements) {
    const name = statement.name?.text;
    if (!name || !isExported(statement) || (only && !only.includes(name))) continue;
    lines.push("", `### ${name}`, "");
    const words = docOf(statement);
    if (words) lines.push(words, "");
    const members = (ts.isClassDeclaration(statement) || ts.isInterfaceDeclaration(statement)) && statement.members;
    // Members that need no words stay together.
    let code = [members ? headOf(statement, source) : textOf(statement, source)];
    const flush = () => code.length && lines.push("```ts", ...code.splice(0), "```");
    for (const member of members || []) {
      if (ts.getModifiers(member)?.some(({ kind }) => kind === ts.SyntaxKind.PrivateKeyword)) continue;
      const doc = docOf(member);
      if (doc) flush() && lines.push("");
      code.push(textOf(member, source));
      if (doc) flush(), lines.push("", doc, "");
    }
    flush();
    if (lines.at(-1) === "") lines.pop();
  }
}
const text = `${lines.join("\n")}\n`;
if (process.argv[2] !== "--check") writeFileSync(out, text);
else if (readFileSync(out, "utf8") !== text) {
  console.error("vm-client/browser/docs/api.md is not what the types say: please run node vm-client/browser/api-docs.mjs");
  process.exit(1);
}

function isExported(statement) {
  return ts.getModifiers(statement)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword);
}

/** The comment before a declaration, as paragraphs and lists. */
function docOf(node) {
  const comment = ts.getJSDocCommentsAndTags(node).find(ts.isJSDoc)?.comment;
  return ts.getTextOfJSDocComment(comment)?.trim() ?? "";
}

/** The declaration without the comment before it, indented as at the top. */
function textOf(node, source) {
  const { character } = source.getLineAndCharacterOfPosition(node.getStart(source));
  return node.getText(source).replaceAll(`\n${" ".repeat(character)}`, "\n");
}

function headOf(node, source) {
  const whole = node.getText(source);
  return whole.slice(0, whole.indexOf("{")).trim();
}
