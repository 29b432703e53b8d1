// SPDX-License-Identifier: MIT
// Reads a GGUF file with Hugging Face's parser and checks what it says against itself: keys that
// every llama.cpp file has, each tensor's name and shape against the sizes, the file's length
// against the last tensor.
//
//   node check_gguf.mjs FILE.gguf      one line a file; exit status 1 if something is wrong
import { gguf, GGMLQuantizationType } from "@huggingface/gguf";
import { statSync } from "node:fs";

const BLOCKS = {
  F32: [1, 4], F16: [1, 2], BF16: [1, 2], Q8_0: [32, 34], Q4_0: [32, 18], Q4_1: [32, 20], Q5_0: [32, 22], Q5_1: [32, 24],
  Q2_K: [256, 84], Q3_K: [256, 110], Q4_K: [256, 144], Q5_K: [256, 176], Q6_K: [256, 210], IQ4_NL: [32, 18],
  IQ4_XS: [256, 136], MXFP4: [32, 17],
};
const problems = [];

function check(right, problem) {
  if (!right) problems.push(problem);
}

// Name -> shape (fastest dimension first) of every tensor that the metadata calls for.
function expectedTensors(meta, names) {
  const a = meta["general.architecture"];
  const get = (key) => Number(meta[`${a}.${key}`]);
  const hidden = get("embedding_length"), ffn = get("feed_forward_length");
  const vocabulary = get("vocab_size"), head = get("attention.key_length");
  const queries = get("attention.head_count") * head, keys = get("attention.head_count_kv") * head;
  const out = new Map([["token_embd.weight", [hidden, vocabulary]], ["output_norm.weight", [hidden]]]);
  if (names.has("output.weight")) out.set("output.weight", [hidden, vocabulary]);
  if (names.has("rope_freqs.weight")) out.set("rope_freqs.weight", [get("rope.dimension_count") / 2]);
  for (const kind of ["short", "long"])
    if (names.has(`rope_factors_${kind}.weight`))
      out.set(`rope_factors_${kind}.weight`, [get("rope.dimension_count") / 2]);
  for (let i = 0; i < get("block_count"); i++) {
    const put = (name, ...shape) => out.set(`blk.${i}.${name}`, shape);
    put("attn_norm.weight", hidden);
    put("ffn_norm.weight", hidden);
    put("attn_output.weight", queries, hidden);
    put("ffn_down.weight", ffn, hidden);
    if (a === "phi3") {
      put("attn_qkv.weight", hidden, queries + 2 * keys);
      put("ffn_up.weight", hidden, 2 * ffn);
      continue;
    }
    for (const [letter, rows] of [["q", queries], ["k", keys], ["v", keys]]) {
      put(`attn_${letter}.weight`, hidden, rows);
      if (a === "qwen2" || names.has(`blk.${i}.attn_${letter}.bias`)) put(`attn_${letter}.bias`, rows);
    }
    if (names.has(`blk.${i}.attn_output.bias`)) put("attn_output.bias", hidden);
    if (a === "qwen3") {
      put("attn_q_norm.weight", head);
      put("attn_k_norm.weight", head);
    }
    for (const [part, rows] of [["gate", ffn], ["up", ffn], ["down", hidden]])
      if (names.has(`blk.${i}.ffn_${part}.bias`)) put(`ffn_${part}.bias`, rows);
    put("ffn_gate.weight", hidden, ffn);
    put("ffn_up.weight", hidden, ffn);
  }
  return out;
}

function checkTokenizer(meta) {
  const model = meta["tokenizer.ggml.model"];
  check(["gpt2", "llama", "t5", "none"].includes(model), `tokenizer.ggml.model: ${model}`);
  if (model === "none") return;
  const n = meta["tokenizer.ggml.tokens"].length;
  const size = Number(meta[`${meta["general.architecture"]}.vocab_size`]);
  check(n === size, `${n} tokens, vocab_size ${size}`);
  check(meta["tokenizer.ggml.token_type"].length === n, "token_type is not one a token");
  if (model === "gpt2") {
    check(typeof meta["tokenizer.ggml.pre"] === "string", "tokenizer.ggml.pre is missing");
    check(meta["tokenizer.ggml.merges"].length > 0, "no merges");
  } else {
    check(meta["tokenizer.ggml.scores"].length === n, "scores is not one a token");
  }
  for (const key of ["bos", "eos", "eot", "unknown", "padding"]) {
    const id = meta[`tokenizer.ggml.${key}_token_id`];
    check(id === undefined || Number(id) < n, `${key}_token_id: ${id}`);
  }
}

const path = process.argv[2];
const { metadata, tensorInfos, tensorDataOffset } = await gguf(path, { allowLocalFile: true });
check(metadata.version === 3, `version ${metadata.version}`);
for (const key of ["general.architecture", "general.name", "general.file_type"])
  check(metadata[key] !== undefined, `${key} is missing`);
const tensors = new Map(tensorInfos.map((t) => [t.name, t]));
check(tensors.size === tensorInfos.length, "a tensor occurs twice");
const expected = expectedTensors(metadata, tensors);
for (const [name, shape] of expected) {
  const found = tensors.get(name)?.shape.map(Number);
  check(found?.join() === shape.join(), `${name}: shape ${found}; ${shape} is right`);
}
for (const name of tensors.keys()) check(expected.has(name), `${name}: not a tensor of this model`);
let end = 0;
const types = {};
for (const t of tensorInfos) {
  const type = GGMLQuantizationType[t.dtype];
  const [block, bytes] = BLOCKS[type] ?? [1, NaN];
  const size = (t.shape.reduce((x, y) => x * Number(y), 1) / block) * bytes;
  check(Number(t.offset) === end, `${t.name}: at ${t.offset}; ${end} is right`);
  end = Math.ceil((Number(t.offset) + size) / 32) * 32;
  types[type] = (types[type] ?? 0) + 1;
}
const length = statSync(path).size;
check(Number(tensorDataOffset) + end === length, `${length} bytes; ${Number(tensorDataOffset) + end} are right`);
checkTokenizer(metadata);
for (const problem of problems) console.error(`${path}: ${problem}`);
const counts = Object.entries(types).map(([type, n]) => `${n} ${type}`).join(", ");
console.log(`${path}: ${metadata["general.architecture"]}, ${Object.keys(metadata).length} keys, ${counts}: ` +
  (problems.length ? `${problems.length} problems` : "right"));
process.exit(problems.length ? 1 : 0);
