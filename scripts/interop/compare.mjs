// SPDX-License-Identifier: MIT
// Greedy text of llama.cpp (node-llama-cpp, on the CPU) and of rill, side by side:
//
//   node compare.mjs RILL MODEL.gguf N PROMPT...      one line a prompt; exit status 1 if texts differ
//
// Where the texts part, the line gives the margin: how far, in rill's logits along llama.cpp's text,
// rill's own choice stands above llama.cpp's. Both quantise activations, each in its own way, so a
// margin near zero is a tie that fell the other way. `agree` counts the tokens of llama.cpp's text
// that are rill's first choice too; `worst` is the largest margin among the others.
// RILL_OPTIONS="--exact" and the like go to rill.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getLlama, LlamaLogLevel } from "node-llama-cpp";

const [rill, path, count, ...prompts] = process.argv.slice(2);
const options = process.env.RILL_OPTIONS?.split(" ") ?? [];
const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.error, maxThreads: 1 });
const model = await llama.loadModel({ modelPath: path });
const scratch = mkdtempSync(join(tmpdir(), "rill-interop-"));

// As `rill run` shows it: where the model ends its text there is an empty line.
function show(tokens) {
  const parts = [[]];
  for (const token of tokens) {
    if (model.isEogToken(token)) parts.push([]);
    else parts.at(-1).push(token);
  }
  return parts.map((part) => model.detokenize(part, true)).join("\n\n");
}

// The end token is not heeded, as `rill run` does not: it goes on.
async function llamaWrites(prompt) {
  const context = await model.createContext({ contextSize: 512 });
  const tokens = prompt ? [...model.tokenize(prompt, false)] : [];
  if (model.tokens.shouldPrependBosToken) tokens.unshift(model.tokens.bos);
  const written = [];
  for await (const token of context.getSequence().evaluate(tokens, { temperature: 0, yieldEogToken: true })) {
    written.push(token);
    if (written.length >= Number(count)) break;
  }
  await context.dispose();
  return { tokens, written, text: show(written) };
}

function rillWrites(prompt) {
  const args = ["run", path, "-p", prompt, "--temperature", "0", "-n", count, ...options];
  return execFileSync(rill, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
}

function rillLogits(tokens) {
  const out = join(scratch, "logits.safetensors");
  const args = ["logits", path, "--tokens", tokens.join(","), "--attention", "dense", "--out", out];
  execFileSync(rill, [...args, ...options], { stdio: "ignore" });
  const bytes = readFileSync(out), n = Number(bytes.readBigUInt64LE(0));
  const [rows, columns] = JSON.parse(bytes.subarray(8, 8 + n)).logits.shape;
  const values = new Float32Array(bytes.buffer.slice(bytes.byteOffset + 8 + n));
  return Array.from({ length: rows }, (_, i) => values.subarray(i * columns, (i + 1) * columns));
}

let differ = false;
for (const prompt of prompts) {
  const { tokens, written, text } = await llamaWrites(prompt);
  const mine = rillWrites(prompt);
  const logits = rillLogits([...tokens, ...written]);
  const margins = written.map((token, i) => {
    const row = logits[tokens.length - 1 + i];
    return row.reduce((a, b) => Math.max(a, b), -Infinity) - row[token];
  });
  const first = margins.findIndex((m) => m > 0);
  const same = mine.trim() === text.trim();
  differ ||= !same;
  const agree = margins.filter((m) => m === 0).length;
  console.log(`${path.split("/").pop()} ${options.join(" ")} "${prompt}": ${same ? "the same text" : "other text"}, ` +
    `agree ${agree}/${written.length}, ${first < 0 ? "no difference" :
      `first at token ${first + 1}, margin ${margins[first].toFixed(4)}, worst ${Math.max(...margins).toFixed(4)}`}`);
  if (process.env.SHOW) console.log(JSON.stringify({ llama: text, rill: mine }));
}
rmSync(scratch, { recursive: true });
await model.dispose();
await llama.dispose();
process.exit(differ ? 1 : 0);
