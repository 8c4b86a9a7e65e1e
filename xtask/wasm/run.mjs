// Runs a program of WebAssembly, whose only import is `Date.now`: under a clock that goes on by a
// second whenever it is read.

import { readFile } from "node:fs/promises";

const module = await WebAssembly.compile(await readFile(process.argv[2]));
let seconds = 0;
const now = () => 1_700_000_000_000 + 1_000 * seconds++;
const imports = {};
for (const { module: from, name } of WebAssembly.Module.imports(module)) {
  const missing = () => { throw new Error(`${name} is not there`); };
  (imports[from] ??= {})[name] = /^__wbg_now_/.test(name) ? now : missing;
}
const { exports } = await WebAssembly.instantiate(module, imports);
const status = exports.main(0, 0);
console.log(`${seconds} decisions by the clock of the host`);
process.exit(status || seconds === 22 ? status : 1);
