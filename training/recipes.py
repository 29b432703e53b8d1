# SPDX-License-Identifier: MIT
"""What is trained: the shipped model, and the small Llamas whose losses rill's tests know."""
import dataclasses

import torch
import torch.nn.functional as F
import transformers
from transformers import AttentionInterface

BOS, EOS = 0, 1


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Sizes, and how samples are drawn."""
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    feed_forward: int
    context: int
    batch: int
    rate: float                # highest learning rate
    mixture: dict              # file of ids: share of the samples
    late_mixture: dict = None  # from LATE of the time on
    first: int = None          # token in front of every sample; None: whatever the text has
    attention: str = "sdpa"


LATE = 0.65
BOOKS = {"books": 1.0}
SMALL = dict(hidden=256, layers=8, heads=4, kv_heads=2, feed_forward=704, context=256, batch=256,
             rate=4e-3, mixture=BOOKS)
RECIPES = {
    "rill-30m": Recipe(hidden=512, layers=10, heads=8, kv_heads=2, feed_forward=1280, context=512,
                       batch=160, rate=2.5e-3, first=BOS,
                       mixture={"books": 0.84, "other": 0.05, "chat": 0.11},
                       late_mixture={"books": 0.56, "other": 0.06, "chat": 0.38}),
    # A dedicated first token grows into a sink; text cut anywhere grows none at this size; the
    # softmax with one more term in its denominator needs none.
    "llama": Recipe(**SMALL, first=BOS),
    "llama-vanilla": Recipe(**SMALL),
    "llama-zerosink": Recipe(**SMALL, attention="softmax1"),
}


def softmax1(_module, query, key, value, _mask, scaling, dropout=0.0, **_unused):
    """SoftMax-off-by-one: one more key and value of zeros, visible to all."""
    assert dropout == 0.0
    group = query.shape[1] // key.shape[1]
    key, value = (F.pad(x.repeat_interleave(group, 1), (0, 0, 1, 0)) for x in (key, value))
    rows, columns = query.shape[2], key.shape[2]
    mask = torch.ones(rows, columns, dtype=torch.bool, device=query.device).tril(columns - rows)
    out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling)
    return out.transpose(1, 2).contiguous(), None


AttentionInterface.register("softmax1", softmax1)


def make_model(recipe, vocabulary):
    """A model of random weights."""
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(
        vocab_size=vocabulary, bos_token_id=BOS, eos_token_id=EOS, pad_token_id=None,
        hidden_size=recipe.hidden, num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads, num_key_value_heads=recipe.kv_heads,
        intermediate_size=recipe.feed_forward, max_position_embeddings=recipe.context,
        tie_word_embeddings=True, attn_implementation=recipe.attention,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0}))
