// Runs a program of WebAssembly: node wasi.mjs program.wasm
import { readFileSync } from "node:fs";
import { WASI } from "node:wasi";

const wasi = new WASI({ version: "preview1", returnOnExit: true });
const module = await WebAssembly.compile(readFileSync(process.argv[2]));
const program = await WebAssembly.instantiate(module, wasi.getImportObject());
process.exitCode = wasi.start(program);
