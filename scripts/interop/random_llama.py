#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes a Hugging Face directory with random weights in f16, for rill convert: the shape of rill's --synthetic llama-1b.

    random_llama.py DIRECTORY
"""
import json
import pathlib
import random
import struct
import sys

WIDE, FORWARD, LAYERS, HEADS, KV_HEADS, WORDS = 2048, 5632, 22, 32, 4, 32000
CONFIG = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": WIDE, "intermediate_size": FORWARD,
          "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "vocab_size": WORDS,
          "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 10000, "tie_word_embeddings": False,
          "hidden_act": "silu"}


def shapes():
    keys = WIDE // HEADS * KV_HEADS
    layer = {"input_layernorm": [WIDE], "self_attn.q_proj": [WIDE, WIDE], "self_attn.k_proj": [keys, WIDE],
             "self_attn.v_proj": [keys, WIDE], "self_attn.o_proj": [WIDE, WIDE], "post_attention_layernorm": [WIDE],
             "mlp.gate_proj": [FORWARD, WIDE], "mlp.up_proj": [FORWARD, WIDE], "mlp.down_proj": [WIDE, FORWARD]}
    yield "model.embed_tokens.weight", [WORDS, WIDE]
    for i in range(LAYERS):
        for name, shape in layer.items():
            yield f"model.layers.{i}.{name}.weight", shape
    yield "model.norm.weight", [WIDE]
    yield "lm_head.weight", [WORDS, WIDE]


def main(folder):
    folder = pathlib.Path(folder)
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    header, sizes, end = {}, [], 0
    for name, shape in shapes():
        size = 2 * shape[0] * (shape[1] if shape[1:] else 1)
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [end, end + size]}
        sizes.append((size, len(shape) == 1))
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    # The same numbers again and again, but a prime number of them, so that no two rows of a matrix are alike.
    rng = random.Random(1)
    numbers = struct.pack("<1000003e", *(rng.gauss(0, 0.02) for _ in range(1000003)))
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for size, is_norm in sizes:
            if is_norm:
                file.write(struct.pack("<e", 1) * (size // 2))
                continue
            for begin in range(0, size, len(numbers)):
                file.write(numbers[:size - begin])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
