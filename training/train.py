#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Trains a model from scratch.

    python train.py RECIPE MINUTES DATA OUT

DATA is what prepare.py wrote. The learning rate follows the time that has passed, so that a recipe fits
whatever minutes it is given. OUT becomes a Hugging Face directory in float16, with train.log.
"""
import json
import math
import pathlib
import shutil
import sys
import time

import numpy
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from recipes import LATE, RECIPES, make_model

WARM_UP_STEPS = 500
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
CHAT_TEMPLATE = ("{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
                 "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")


def load_ids(data):
    """Every file of ids, by name, on the device."""
    return {path.stem: torch.from_numpy(numpy.fromfile(path, dtype=numpy.uint16)
                                        .astype(numpy.int32)).to(DEVICE)
            for path in sorted(data.glob("*.bin"))}


def draw(ids, mixture, recipe, rows):
    """Samples cut anywhere from a mixture of files: tokens and their successors, [rows, context]."""
    names = list(mixture)
    chosen = torch.multinomial(torch.tensor([mixture[name] for name in names]), rows, True)
    samples = []
    for i, name in enumerate(names):
        count = int((chosen == i).sum())
        start = torch.randint(0, ids[name].numel() - recipe.context - 1, (count,), device=DEVICE)
        offsets = torch.arange(recipe.context + 1, device=DEVICE)
        samples.append(ids[name][start[:, None] + offsets].long())
    batch = torch.cat(samples)
    if recipe.first is not None:
        batch = torch.cat([torch.full_like(batch[:, :1], recipe.first), batch[:, :-1]], 1)
    return batch[:, :-1], batch[:, 1:]


def make_optimizer(model, recipe):
    """AdamW; weights decay, norms do not."""
    groups = [{"params": [p for p in model.parameters() if p.dim() >= 2], "weight_decay": 0.1},
              {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.95), fused=DEVICE == "cuda")


def rate_at(recipe, step, progress):
    """Rises linearly, then falls along a cosine to a twentieth."""
    warm = min(1.0, (step + 1) / WARM_UP_STEPS)
    return recipe.rate * warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * progress)))


def train(model, recipe, ids, seconds, say):
    def loss_of(tokens, targets):
        logits = model(tokens, use_cache=False).logits.float()
        return F.cross_entropy(logits.flatten(0, 1), targets.reshape(-1))

    compiled = torch.compile(loss_of)
    optimizer = make_optimizer(model, recipe)
    began, step = time.time(), 0
    while (progress := (time.time() - began) / seconds) < 1:
        rate = rate_at(recipe, step, progress)
        for group in optimizer.param_groups:
            group["lr"] = rate
        late = recipe.late_mixture and progress > LATE
        tokens, targets = draw(ids, recipe.late_mixture if late else recipe.mixture, recipe,
                               recipe.batch)
        with torch.autocast(DEVICE, torch.bfloat16):
            loss = compiled(tokens, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        if step % 500 == 0 or step == 30:
            millions = step * recipe.batch * recipe.context / 1e6
            say(f"step {step}: {progress:.2f} of the time, loss {loss.item():.3f}, "
                f"{millions:.0f} M tokens")
    say(f"trained {step} steps in {time.time() - began:.0f} s")
    with torch.no_grad(), torch.autocast(DEVICE, torch.bfloat16):
        for name in [name for name in ids if name.startswith("valid")]:
            losses = [compiled(*draw(ids, {name: 1.0}, recipe, 64)).item() for _ in range(20)]
            say(f"{name}: perplexity {math.exp(sum(losses) / len(losses)):.2f}")


def save(model, name, data, out):
    """A Hugging Face directory: weights, tokenizer, chat template."""
    if RECIPES[name].attention == "softmax1":
        model.config.softmax_off_by_one = True
    model.half().save_pretrained(out)
    shutil.copy(data / "tokenizer.json", out)
    # A turn ends at <|im_end|>, a text at <|eos|>.
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|bos|>",
                "eos_token": "<|im_end|>", "pad_token": "<|pad|>", "add_bos_token": True,
                "clean_up_tokenization_spaces": False, "chat_template": CHAT_TEMPLATE,
                "model_max_length": RECIPES[name].context}
    (out / "tokenizer_config.json").write_text(json.dumps(settings, indent=1))
    (out / "generation_config.json").write_text(json.dumps({"bos_token_id": 0,
                                                            "eos_token_id": [1, 3]}))


def main():
    if len(sys.argv) != 5 or sys.argv[1] not in RECIPES:
        sys.exit(f"{__doc__}\nRecipes: {', '.join(RECIPES)}")
    name, minutes, data, out = (sys.argv[1], float(sys.argv[2]), *map(pathlib.Path, sys.argv[3:]))
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1234)
    torch.set_float32_matmul_precision("high")
    recipe = RECIPES[name]
    vocabulary = Tokenizer.from_file(str(data / "tokenizer.json")).get_vocab_size()
    model = make_model(recipe, vocabulary).to(DEVICE)
    with open(out / "train.log", "w", encoding="utf-8") as log:
        def say(text):
            for file in (sys.stdout, log):
                print(text, file=file, flush=True)

        say(f"{name}: {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters")
        train(model, recipe, load_ids(data), minutes * 60, say)
    save(model, name, data, out)


if __name__ == "__main__":
    main()
