#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Reads held-out text to three times the trained length, one token at a time, in several ways.

    python evaluate.py MODEL_DIR RECIPE IDS.bin [PIECES]

Prints the perplexity of each third when a model sees everything (dense), the last C tokens (window), or
sinks and the most recent ones (streaming), with positions as they are in the cache; C is the trained
context. The losses of the first four pieces go to MODEL_DIR/nll.safetensors, which rill's tests read.
"""
import pathlib
import sys

import numpy
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file
from transformers import DynamicCache

from recipes import RECIPES

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def one_position_back(keys, frequencies):
    """Rotated keys, as they would be one position earlier."""
    angle = -torch.cat([frequencies, frequencies])
    half = frequencies.numel()
    exact = keys.double()
    turned = torch.cat([-exact[..., half:], exact[..., :half]], -1)
    return (exact * angle.cos() + turned * angle.sin()).to(keys.dtype)


def evict(cache, sinks, frequencies):
    """Drops the oldest token behind the sinks and closes the gap."""
    for layer in cache.layers:
        moved = one_position_back(layer.keys[..., sinks + 1:, :], frequencies)
        layer.keys = torch.cat([layer.keys[..., :sinks, :], moved], -2)
        layer.values = torch.cat([layer.values[..., :sinks, :], layer.values[..., sinks + 1:, :]], -2)


@torch.no_grad()
def losses(model, tokens, sinks, capacity):
    """Losses of the next token, [pieces, T - 1]; capacity None sees everything."""
    frequencies = model.model.rotary_emb.inv_freq.double()
    cache, held, out = DynamicCache(), 0, []
    for t in range(tokens.shape[1] - 1):
        if held == capacity:
            evict(cache, sinks, frequencies)
            held -= 1
        position = torch.full((tokens.shape[0], 1), held, device=DEVICE)
        logits = model(tokens[:, t:t + 1], past_key_values=cache, use_cache=True,
                       position_ids=position).logits[:, 0]
        held += 1
        out.append(F.cross_entropy(logits.float(), tokens[:, t + 1], reduction="none"))
    return torch.stack(out, 1)


def main():
    if len(sys.argv) not in (4, 5) or sys.argv[2] not in RECIPES:
        sys.exit(__doc__)
    folder, recipe = pathlib.Path(sys.argv[1]), RECIPES[sys.argv[2]]
    pieces = int(sys.argv[4]) if len(sys.argv) == 5 else 48
    context = recipe.context
    model = transformers.LlamaForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation=recipe.attention).to(DEVICE).eval()
    ids = torch.from_numpy(numpy.fromfile(sys.argv[3], dtype=numpy.uint16).astype(numpy.int64))
    starts = torch.arange(pieces) * ((ids.numel() - 3 * context - 2) // pieces)
    tokens = ids[starts[:, None] + torch.arange(3 * context)].to(DEVICE)
    if recipe.first is not None:
        tokens[:, 0] = recipe.first

    saved = {"tokens": tokens[:4].int().cpu()}
    for method, sinks in (("dense", None), ("window", 0), ("streaming", 1), ("streaming", 4)):
        capacity = None if sinks is None else context
        nll = losses(model, tokens, sinks or 0, capacity)
        name = method if sinks is None else f"{method}_{sinks}_{context - sinks}"
        saved[name] = nll[:4].cpu().contiguous()
        thirds = [nll[:, i * context:(i + 1) * context].mean().exp().item() for i in range(3)]
        print(f"{name}: perplexity " + ", ".join(f"{x:.2f}" for x in thirds), flush=True)
    save_file(saved, folder / "nll.safetensors")


if __name__ == "__main__":
    main()
