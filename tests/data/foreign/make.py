#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes a tiny random model as a Hugging Face directory:   make.py DIRECTORY   (README.md goes on)"""
import json
import pathlib
import random
import struct
import sys

HIDDEN, HEADS, HEAD_DIM, FFN, VOCABULARY = 256, 2, 32, 64, 64
SHAPES = {
    "model.embed_tokens": (VOCABULARY, HIDDEN), "lm_head": (VOCABULARY, HIDDEN), "model.norm": (HIDDEN,),
    "model.layers.0.input_layernorm": (HIDDEN,), "model.layers.0.post_attention_layernorm": (HIDDEN,),
    "model.layers.0.self_attn.q_proj": (HEADS * HEAD_DIM, HIDDEN),
    "model.layers.0.self_attn.k_proj": (HEAD_DIM, HIDDEN), "model.layers.0.self_attn.v_proj": (HEAD_DIM, HIDDEN),
    "model.layers.0.self_attn.o_proj": (HIDDEN, HEADS * HEAD_DIM), "model.layers.0.mlp.gate_proj": (FFN, HIDDEN),
    "model.layers.0.mlp.up_proj": (FFN, HIDDEN), "model.layers.0.mlp.down_proj": (HIDDEN, FFN),
}
CONFIG = {
    "model_type": "llama", "hidden_size": HIDDEN, "intermediate_size": FFN, "num_hidden_layers": 1,
    "num_attention_heads": HEADS, "num_key_value_heads": 1, "head_dim": HEAD_DIM, "vocab_size": VOCABULARY,
    "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
    "tie_word_embeddings": False,
}
LETTERS = [chr(c) for c in range(ord("a"), ord("z") + 1)] + [chr(c) for c in range(ord("A"), ord("Z") + 1)]
WORDS = LETTERS + ["\u0120", "th", "the", "in", "er", "an", "\u010a", ".", ",", "!", "?"]
TOKENIZER = {
    "added_tokens": [{"id": VOCABULARY - 1, "content": "<|end|>", "special": True, "single_word": False,
                      "lstrip": False, "rstrip": False, "normalized": False}],
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
    "decoder": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
    "model": {"type": "BPE", "vocab": {word: i for i, word in enumerate(WORDS)},
              "merges": [["t", "h"], ["th", "e"], ["i", "n"], ["e", "r"], ["a", "n"]]},
}
folder = pathlib.Path(sys.argv[1])
folder.mkdir(exist_ok=True)
(folder / "config.json").write_text(json.dumps(CONFIG))
(folder / "tokenizer.json").write_text(json.dumps(TOKENIZER))
(folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|end|>", "add_bos_token": False}))
r, header, data = random.Random(5), {}, bytearray()
for name, shape in SHAPES.items():
    rows = shape[0] if len(shape) == 2 else 1
    scale = 1.6 / shape[-1] ** 0.5 if rows > 1 else 0.2
    begin = len(data)
    for _ in range(rows * shape[-1]):
        data += struct.pack("<f", r.gauss(0 if rows > 1 else 1, scale))
    header[name + ".weight"] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, len(data)]}
text = json.dumps(header).encode()
(folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(data))
