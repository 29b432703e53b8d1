// SPDX-License-Identifier: MIT
// Writes on greedily with llama.cpp (node-llama-cpp, on the CPU), to be compared with rill:
//
//   node greedy.mjs MODEL.gguf N PROMPT      a JSON object: ids of the prompt, ids and text written
//
// The end token is not heeded, as `rill run` does not: it goes on.
import { getLlama, LlamaLogLevel } from "node-llama-cpp";

const [path, count, prompt] = process.argv.slice(2);
const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.error, maxThreads: 1 });
const model = await llama.loadModel({ modelPath: path });
const context = await model.createContext({ contextSize: model.trainContextSize });
const sequence = context.getSequence();
const tokens = model.tokenize(prompt, false);
if (model.tokens.shouldPrependBosToken) tokens.unshift(model.tokens.bos);
const written = [];
for await (const token of sequence.evaluate(tokens, { temperature: 0, yieldEogToken: true })) {
  written.push(token);
  if (written.length >= Number(count)) break;
}
console.log(JSON.stringify({ prompt: tokens, written, text: model.detokenize(written, false, tokens) }));
await model.dispose();
await llama.dispose();
