// node onnxruntime_web.mjs FOLDER MODEL FEEDS OUTPUTS [REPEATS]
// Runs a model in the onnxruntime-web that is installed in FOLDER, and writes its outputs as JSON.
// With REPEATS it prints the milliseconds of the fastest of so many predictions.
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [folder, model, feeds, outputs, repeats = 0] = process.argv.slice(2);
const ort = createRequire(join(folder, "index.js"))("onnxruntime-web");
ort.env.wasm.numThreads = 1;
const { x, shape, seed, first_row } = JSON.parse(readFileSync(feeds));
const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
const number = (text) => new ort.Tensor("int64", BigInt64Array.of(BigInt(text)), []);
const given = {
  input: new ort.Tensor("float32", Float32Array.from(x), shape),
  seed: number(seed),
  first_row: number(first_row),
};
const made = await session.run(given);
const written = {};
for (const [name, { data, dims }] of Object.entries(made)) {
  const words = new Uint32Array(data.buffer, data.byteOffset, data.length);
  written[name] = { dims, words: Array.from(words) };
}
writeFileSync(outputs, JSON.stringify(written));
let fastest = Infinity;
for (let i = 0; i < repeats; i++) {
  const start = performance.now();
  await session.run(given);
  fastest = Math.min(fastest, performance.now() - start);
}
if (repeats) console.log(`${fastest.toFixed(3)} ms`);
