// SPDX-License-Identifier: MIT
// What llama.cpp (node-llama-cpp, on the CPU) thinks of each next token:
//
//   node probabilities.mjs MODEL.gguf ID,ID,...      JSON: {tokens, rows}, a row of natural logarithms
//                                                    of probabilities after each token
import { getLlama, LlamaLogLevel } from "node-llama-cpp";

const [path, ids] = process.argv.slice(2);
const tokens = ids.split(",").map(Number);
const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.error, maxThreads: 1 });
const model = await llama.loadModel({ modelPath: path });
const context = await model.createContext({ contextSize: 256 });
const next = { generateNext: { probabilities: true, options: { temperature: 1, topK: 0, topP: 1, minP: 0 } } };
const out = await context.getSequence().controlledEvaluate(tokens.map((token) => [token, next]));
const rows = out.map((o) => {
  const row = [];
  for (const [token, p] of o.next.probabilities) row[token] = Number(Math.log(p).toFixed(5));
  return row;
});
console.log(`{"tokens": ${JSON.stringify(tokens)}, "rows": [\n${rows.map((r) => JSON.stringify(r)).join(",\n")}\n]}`);
process.exit(0);
