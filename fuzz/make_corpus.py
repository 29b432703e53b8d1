#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the seeds of the fuzz targets and the tiny model that some of them stand on.

    fuzz/make_corpus.py            writes fuzz/model/ and fuzz/corpus/{config,gguf,...}/seed-*

Snapshots are rill's own: RILL_FUZZ_SEEDS=fuzz/corpus/snapshot build-fuzz/fuzz/snapshot_fuzz -runs=1
writes those. The same seeds come out every time.
"""
import json
import pathlib
import random
import struct

HERE = pathlib.Path(__file__).parent
HIDDEN, HEADS, KV_HEADS, HEAD_DIM, FFN, VOCAB = 32, 4, 2, 8, 32, 40
R = random.Random(1)
STOPPED = "</s>"

CONFIG = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": HIDDEN,
    "intermediate_size": FFN, "num_hidden_layers": 1, "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS, "head_dim": HEAD_DIM, "vocab_size": VOCAB,
    "max_position_embeddings": 16, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    "hidden_act": "silu", "tie_word_embeddings": True, "bos_token_id": 1, "eos_token_id": [2, 3],
}

SHAPES = {
    "embed_tokens": (VOCAB, HIDDEN), "norm": (HIDDEN,),
    "input_layernorm": (HIDDEN,), "post_attention_layernorm": (HIDDEN,),
    "self_attn.q_proj": (HEADS * HEAD_DIM, HIDDEN), "self_attn.k_proj": (KV_HEADS * HEAD_DIM, HIDDEN),
    "self_attn.v_proj": (KV_HEADS * HEAD_DIM, HIDDEN), "self_attn.o_proj": (HIDDEN, HEADS * HEAD_DIM),
    "mlp.gate_proj": (FFN, HIDDEN), "mlp.up_proj": (FFN, HIDDEN), "mlp.down_proj": (HIDDEN, FFN),
}
GGUF_NAMES = {
    "embed_tokens": "token_embd.weight", "norm": "output_norm.weight",
    "input_layernorm": "blk.0.attn_norm.weight", "post_attention_layernorm": "blk.0.ffn_norm.weight",
    "self_attn.q_proj": "blk.0.attn_q.weight", "self_attn.k_proj": "blk.0.attn_k.weight",
    "self_attn.v_proj": "blk.0.attn_v.weight", "self_attn.o_proj": "blk.0.attn_output.weight",
    "mlp.gate_proj": "blk.0.ffn_gate.weight", "mlp.up_proj": "blk.0.ffn_up.weight",
    "mlp.down_proj": "blk.0.ffn_down.weight",
}


def save(target, name, data):
    folder = HERE / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())


def count(shape):
    n = 1
    for size in shape:
        n *= size
    return n


def safetensors(entries, extra=None):
    """entries: name, dtype, shape, bytes."""
    header, data = dict(extra or {}), b""
    for name, dtype, shape, raw in entries:
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def numbers(shape):
    return [1.0 if len(shape) == 1 else R.gauss(0, 0.2) for _ in range(count(shape))]


def model_entries():
    for name, shape in SHAPES.items():
        prefix = "model." if name in ("embed_tokens", "norm") else "model.layers.0."
        raw = struct.pack("<%de" % count(shape), *numbers(shape))
        yield prefix + name + ".weight", "F16", shape, raw


# GGUF: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
def string(text):
    raw = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(raw)) + raw


FORMATS = {"u8": (0, "B"), "i8": (1, "b"), "u16": (2, "H"), "i16": (3, "h"), "u32": (4, "I"),
           "i32": (5, "i"), "f32": (6, "f"), "bool": (7, "B"), "u64": (10, "Q"), "i64": (11, "q"),
           "f64": (12, "d")}


def value(kind, x):
    if kind == "str":
        return struct.pack("<I", 8) + string(x)
    if kind.startswith("["):
        inner = kind[1:-1]
        body = b"".join(value(inner, y)[4:] for y in x)
        number = 8 if inner == "str" else 9 if inner.startswith("[") else FORMATS[inner][0]
        return struct.pack("<IIQ", 9, number, len(x)) + body
    return struct.pack("<I", FORMATS[kind][0]) + struct.pack("<" + FORMATS[kind][1], x)


def gguf(metadata, tensors, version=3, alignment=32):
    """tensors: name, GGML type, dimensions fastest first, bytes."""
    out = struct.pack("<4sIQQ", b"GGUF", version, len(tensors), len(metadata))
    for key, kind, x in metadata:
        out += string(key) + value(kind, x)
    data = b""
    for name, number, dims, raw in tensors:
        out += string(name) + struct.pack("<I%dQ" % len(dims), len(dims), *dims)
        out += struct.pack("<IQ", number, len(data))
        data += raw + bytes(-len(raw) % alignment)
    return out + bytes(-len(out) % alignment) + data


def q8_0(xs):
    out = b""
    for i in range(0, len(xs), 32):
        scale = max(map(abs, xs[i:i + 32])) / 127 or 1
        out += struct.pack("<e32b", scale, *(round(x / scale) for x in xs[i:i + 32]))
    return out


def gguf_tensors(number):
    pack = {1: lambda xs: struct.pack("<%de" % len(xs), *xs), 8: q8_0,
            2: lambda xs: R.randbytes(len(xs) // 32 * 18).replace(b"\x7c", b"\x00").replace(b"\xfc", b"\x00")}[number]
    for name, shape in SHAPES.items():
        xs = numbers(shape)
        if len(shape) == 1:
            yield GGUF_NAMES[name], 0, shape, struct.pack("<%df" % len(xs), *xs)
        else:
            yield GGUF_NAMES[name], number, shape[::-1], pack(xs)


def gguf_metadata(architecture="llama"):
    a = architecture + "."
    return [
        ("general.architecture", "str", architecture), ("general.name", "str", "tiny"),
        (a + "block_count", "u32", 1), (a + "context_length", "u32", 16),
        (a + "embedding_length", "u32", HIDDEN), (a + "feed_forward_length", "u32", FFN),
        (a + "attention.head_count", "u32", HEADS), (a + "attention.head_count_kv", "u32", KV_HEADS),
        (a + "attention.key_length", "u32", HEAD_DIM), (a + "attention.value_length", "u32", HEAD_DIM),
        (a + "attention.layer_norm_rms_epsilon", "f32", 1e-5), (a + "rope.freq_base", "f32", 10000.0),
        (a + "rope.dimension_count", "u32", HEAD_DIM), (a + "vocab_size", "u32", VOCAB),
    ]


LLAMA_TOKENS = ["<unk>", "<s>", STOPPED, "<0x0A>", "<0xC3>", "<0xA4>", "\u2581", "\u2581t", "he", "\u2581the"]
LLAMA_TOKENS += [chr(c) for c in range(ord("a"), ord("z") + 1)] + ["in", "er", "\u2581a", "an"]
LLAMA_KINDS = [2, 3, 3, 6, 6, 6] + [1] * (VOCAB - 6)
GPT2_TOKENS = ["<|endoftext|>", "\u0120", "\u0120t", "he", "\u0120the", "\u010a"]
GPT2_TOKENS += [chr(c) for c in range(ord("a"), ord("z") + 1)] + ["in", "er", "\u0120a", "an", "\u00c3", "\u00a4", "1", "2"]
GPT2_MERGES = ["\u0120 t", "h e", "\u0120t he", "i n", "e r", "\u0120 a", "a n"]


def gguf_vocabulary(kind, pre=""):
    llama = kind == "llama"
    g = "tokenizer.ggml."
    rows = [
        (g + "model", "str", kind), (g + "tokens", "[str]", LLAMA_TOKENS if llama else GPT2_TOKENS),
        (g + "token_type", "[i32]", LLAMA_KINDS if llama else [3] + [1] * (VOCAB - 1)),
        (g + "bos_token_id", "u32", 1 if llama else 0), (g + "eos_token_id", "u32", 2 if llama else 0),
        (g + "add_bos_token", "bool", 1),
    ]
    if llama:
        rows += [(g + "scores", "[f32]", [-float(i) for i in range(VOCAB)]), (g + "unknown_token_id", "u32", 0),
                 ("tokenizer.chat_template", "str", "{% for m in messages %}[INST] {{ m }} [/INST]{% endfor %}")]
    else:
        rows += [(g + "merges", "[str]", GPT2_MERGES), (g + "pre", "str", pre)]
    return rows


def make_gguf():
    save("corpus/gguf", "seed-llama-q8_0", gguf(gguf_metadata() + gguf_vocabulary("llama"), list(gguf_tensors(8))))
    halves = list(gguf_tensors(1))
    save("corpus/gguf", "seed-llama-f16", gguf(gguf_metadata() + gguf_vocabulary("gpt2", "llama-bpe"), halves))
    save("corpus/gguf", "seed-no-pre", gguf(gguf_metadata() + gguf_vocabulary("gpt2", ""), halves))
    save("corpus/gguf", "seed-qwen2-q4_0", gguf(gguf_metadata("qwen2") + gguf_vocabulary("gpt2", "qwen2"),
                                                list(gguf_tensors(2)), version=2))
    scaled = [("llama.rope.scaling.type", "str", "yarn"), ("llama.rope.scaling.factor", "f32", 4.0),
              ("llama.rope.scaling.original_context_length", "u32", 8)]
    save("corpus/gguf", "seed-llama-yarn", gguf(gguf_metadata() + scaled, list(gguf_tensors(8))))
    every = [("k." + kind, kind, 1) for kind in FORMATS] + [("k.a" + kind, "[%s]" % kind, [1, 0, 1]) for kind in FORMATS]
    every += [("k.s", "str", "text"), ("k.as", "[str]", ["a", "", "bc"]), ("k.empty", "[u8]", []),
              ("k.nested", "[[u8]]", [[1, 2], [3]]), ("general.alignment", "u32", 64)]
    tensors = [("t%d" % number, number, (256,), R.randbytes(size)) for number, size in
               ((0, 1024), (1, 512), (2, 144), (3, 160), (6, 176), (7, 192), (8, 272), (12, 144), (14, 210), (30, 512))]
    save("corpus/gguf", "seed-every-type", gguf(every, tensors, alignment=64))
    save("corpus/gguf", "seed-empty", gguf([], []))


def make_safetensors():
    entries = list(model_entries())
    save("corpus/safetensors", "seed-model", safetensors(entries, {"__metadata__": {"format": "pt"}}))
    small = [("a", "F32", (2, 3), bytes(24)), ("b", "BF16", (4,), bytes(8)), ("c", "I64", (1,), bytes(8)),
             ("d", "F16", (), bytes(2)), ("e", "F32", (0, 5), b""), ("f", "BOOL", (3,), bytes(3)),
             ("g", "F8_E4M3", (1, 1, 1, 1), bytes(1))]
    save("corpus/safetensors", "seed-types", safetensors(small))
    save("corpus/safetensors", "seed-empty", safetensors([]))
    # More tensors than a Llama has, so that a config may turn it into a Qwen2, a Qwen3 or a Phi-3.
    layer = "model.layers.0."
    more = {layer + "self_attn.q_proj.bias": (HEADS * HEAD_DIM,), layer + "self_attn.k_proj.bias": (KV_HEADS * HEAD_DIM,),
            layer + "self_attn.v_proj.bias": (KV_HEADS * HEAD_DIM,), layer + "self_attn.o_proj.bias": (HIDDEN,),
            layer + "self_attn.q_norm.weight": (HEAD_DIM,), layer + "self_attn.k_norm.weight": (HEAD_DIM,),
            layer + "self_attn.qkv_proj.weight": ((HEADS + 2 * KV_HEADS) * HEAD_DIM, HIDDEN),
            layer + "mlp.gate_up_proj.weight": (2 * FFN, HIDDEN), "lm_head.weight": (VOCAB, HIDDEN)}
    for name, shape in more.items():
        entries.append((name, "F16", shape, struct.pack("<%de" % count(shape), *numbers(shape))))
    save("model", "model.safetensors", safetensors(entries))
    save("model", "config.json", json.dumps(CONFIG, indent=1))


def make_config():
    variants = {
        "llama": {}, "qwen2": {"model_type": "qwen2", "use_sliding_window": False, "sliding_window": 8},
        "qwen3": {"model_type": "qwen3", "layer_types": ["full_attention"]},
        "mistral": {"model_type": "mistral", "sliding_window": 6},
        "phi3": {"model_type": "phi3", "original_max_position_embeddings": 8, "rope_parameters": {
            "rope_type": "longrope", "short_factor": [1, 1.1, 1.2, 1.3], "long_factor": [1.5, 2, 2.5, 3]}},
        "linear": {"rope_scaling": {"type": "linear", "factor": 4.0}},
        "dynamic": {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}},
        "yarn": {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "beta_fast": 32,
                                     "original_max_position_embeddings": 8, "mscale": 1, "mscale_all_dim": 0.5}},
        "llama3": {"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                                    "high_freq_factor": 4.0, "original_max_position_embeddings": 8}},
        "falcon": {"model_type": "falcon", "alibi": True}, "gpt_neox": {"model_type": "gpt_neox", "rotary_pct": 0.25},
        "biases": {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": False, "head_dim": None},
    }
    for name, changes in variants.items():
        save("corpus/config", "seed-" + name, json.dumps({**CONFIG, **changes}))


def byte_level():
    """The byte-level alphabet of GPT-2."""
    printable = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    return [chr(b) if b in printable else chr(256 + b - sum(p < b for p in printable)) for b in range(256)]


def tokenizer_json(model, pre, normalizer=None, post=None, decoder=None, added=("<s>", STOPPED)):
    first = len(model["vocab"])
    return json.dumps({
        "version": "1.0", "added_tokens": [
            {"id": first + i, "content": text, "single_word": False, "lstrip": i == 1, "rstrip": False,
             "normalized": i == 2, "special": True} for i, text in enumerate(added)],
        "normalizer": normalizer, "pre_tokenizer": pre, "decoder": decoder, "model": model,
        "post_processor": post or {"type": "TemplateProcessing", "single": [
            {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [first], "tokens": ["<s>"]}}}},
        ensure_ascii=False, separators=(",", ":"))


SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
         r"|\s+(?!\S)|\s+")


def make_tokenizers():
    alphabet = byte_level()
    vocab = {c: i for i, c in enumerate(alphabet + ["\u0120t", "he", "\u0120the", "in", "\u0120a"])}
    merges = ["\u0120 t", "h e", "\u0120t he", "i n", "\u0120 a"]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    bpe = {"type": "BPE", "dropout": None, "unk_token": None, "fuse_unk": False, "byte_fallback": False,
           "ignore_merges": False, "vocab": vocab, "merges": merges}
    split = {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": False},
        {**level, "use_regex": False}]}
    falcon = {"type": "Sequence", "pretokenizers": [
        {"type": "Punctuation", "behavior": "Contiguous"}, level, {"type": "Digits", "individual_digits": False},
        {"type": "Split", "pattern": {"Regex": "[0-9][0-9][0-9]"}, "behavior": "Isolated", "invert": False}]}
    save("corpus/tokenizer", "seed-gpt2", tokenizer_json(bpe, level, decoder=level))
    save("corpus/tokenizer", "seed-neox", tokenizer_json(
        {**bpe, "merges": [m.split(" ") for m in merges]}, {**level, "add_prefix_space": True}, {"type": "NFC"},
        {"type": "ByteLevel", "trim_offsets": False}, level))
    save("corpus/tokenizer", "seed-llama3", tokenizer_json({**bpe, "ignore_merges": True}, split, decoder=level))
    save("corpus/tokenizer", "seed-falcon", tokenizer_json(bpe, falcon, {"type": "NFKC"}, decoder=level))
    plain = [t for t in LLAMA_TOKENS if not t.startswith("<0x")]
    meta = {t: i for i, t in enumerate(plain + ["<0x%02X>" % b for b in range(256)])}
    space = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    fallback = {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"},
        {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    prepend = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"}, space]}
    llama = {"type": "BPE", "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True, "vocab": meta,
             "merges": ["h e", "\u2581 t", "\u2581t he", "i n"]}
    save("corpus/tokenizer", "seed-llama2", tokenizer_json(llama, None, prepend, decoder=fallback))
    unigram = {"type": "Unigram", "unk_id": 0, "byte_fallback": False,
               "vocab": [[t, -float(i)] for i, t in enumerate(LLAMA_TOKENS)]}
    unigram_json = tokenizer_json(
        {**unigram, "vocab": unigram["vocab"]}, {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first",
                                                 "split": True},
        {"type": "Sequence", "normalizers": [{"type": "Strip", "strip_left": True, "strip_right": False},
                                             {"type": "Lowercase"}, space]}, decoder={"type": "Metaspace"})
    save("corpus/tokenizer", "seed-unigram", unigram_json)
    save("corpus/tokenizer", "seed-settings", json.dumps({
        "bos_token": {"content": "<s>"}, "eos_token": STOPPED, "add_bos_token": True, "eos_token_id": [2, 3],
        "chat_template": [{"name": "default", "template": "<|im_start|>{{ m }}<|im_end|>"}]}))


# SentencePiece's protocol buffer: src/sentencepiece_model.proto of google/sentencepiece.
def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def field(number, x):
    if isinstance(x, int):
        return varint(number << 3) + varint(x & (1 << 64) - 1)
    if isinstance(x, float):
        return varint(number << 3 | 5) + struct.pack("<f", x)
    raw = x.encode() if isinstance(x, str) else x
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def sentencepiece(kind, bytes_too, charsmap=b""):
    pieces = list(zip(LLAMA_TOKENS, LLAMA_KINDS)) + [("user!", 4), ("unused", 5)]
    if bytes_too:
        pieces = [p for p in pieces if p[1] != 6] + [("<0x%02X>" % b, 6) for b in range(256)]
    out = b"".join(field(1, field(1, text) + field(2, -float(i)) + field(3, k)) for i, (text, k) in enumerate(pieces))
    out += field(2, field(3, kind) + field(4, len(pieces)) + field(35, int(bytes_too)) + field(40, 0) +
                 field(41, 1) + field(42, 2) + field(43, -1))
    return out + field(3, field(1, "nmt_nfkc") + field(2, charsmap) + field(3, 1) + field(4, 1) + field(5, 1))


def make_sentencepiece():
    # A trie of darts-clone's units (none of them leads anywhere) and the replacements after it.
    trie = struct.pack("<256I", *(R.getrandbits(32) & 0x3fffffff if i % 9 == 0 else 0 for i in range(256)))
    charsmap = struct.pack("<I", len(trie)) + trie + b" \0fi\0\xc3\xa4\0"
    save("corpus/sentencepiece", "seed-bpe-bytes", sentencepiece(2, True))
    save("corpus/sentencepiece", "seed-bpe", sentencepiece(2, False, charsmap))
    save("corpus/sentencepiece", "seed-unigram-bytes", sentencepiece(1, True, charsmap))
    save("corpus/sentencepiece", "seed-unigram", sentencepiece(1, False))


def make_lines():
    lines = [{"text": "".join(f"line {i}: REGISTER_CONTENT is <{i * 7}>\n" for i in range(71, 82))},
             {"question": "Question: what is the REGISTER_CONTENT in line 79?\nAnswer: <", "answer": "553",
              "end": ">\n", "distance": 2}]
    save("corpus/lines", "seed-records", "".join(json.dumps(x) + "\n" for x in lines * 2))
    texts = ["a stone", "a feather", "a ship"]
    quiz = [{"question": "What floats?", "choices": {"text": texts, "label": ["A", "B", "C"]}, "answerKey": "C"},
            {"question": {"stem": "What sinks?", "choices": [{"text": t, "label": str(i)} for i, t in enumerate(texts)]},
             "answerKey": "0"},
            {"question": "What flies?", "choices": texts, "answerKey": "B"}]
    save("corpus/lines", "seed-questions", "".join(json.dumps(x) + "\n" for x in quiz))


if __name__ == "__main__":
    make_safetensors()
    make_gguf()
    make_config()
    make_tokenizers()
    make_sentencepiece()
    make_lines()
