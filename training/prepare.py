#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Turns text into a tokenizer and files of token ids.

    python prepare.py SOURCE OUT

SOURCE has books/{train,valid,test}/*.txt, chat/*.jsonl and other/*.txt (<|endoftext|> between texts).
Writes OUT/tokenizer.json, a byte-level BPE of 8,192 trained on that text, and OUT/NAME.bin, ids as
uint16, a text's end marked by <|eos|>.
"""
import json
import pathlib
import random
import sys

import numpy
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

VOCABULARY = 8192
# Their places in this list are their ids.
SPECIAL = ["<|bos|>", "<|eos|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
BOS, EOS = 0, 1
# Small collections that set the tone are seen twice.
REPEATS = {"small_talk": 2, "chatterbot": 2, "chitchat": 2}


def read_books(source, part):
    return [p.read_text(encoding="utf-8") for p in sorted((source / "books" / part).glob("*.txt"))]


def read_other(source):
    return [text.strip() for path in sorted((source / "other").glob("*.txt"))
            for text in path.read_text(encoding="utf-8").split("<|endoftext|>") if text.strip()]


def read_chats(source):
    """Dialogues by collection, in ChatML."""
    chats = {}
    for path in sorted((source / "chat").glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            messages = json.loads(line)["messages"]
            roles = {m["role"] for m in messages}
            if len(messages) >= 2 and roles <= {"system", "user", "assistant"}:
                text = "".join(f"<|im_start|>{m['role']}\n{m['content'].strip()}<|im_end|>\n"
                               for m in messages)
                chats.setdefault(path.stem, []).append(text)
    return chats


def split_chats(chats):
    """Dialogues to train on and held-out ones: one in fifty, and whole collections named so."""
    train, held_out = [], []
    for name, texts in chats.items():
        if name.endswith("heldout"):
            held_out += texts[:300]
            continue
        for i, text in enumerate(texts):
            # Schema-Guided Dialogue is large and monotonous: a third of it will do.
            if len(text) > 12000 or (name == "sgd_train" and i % 3):
                continue
            if i % 50 == 49:
                held_out.append(text)
            else:
                train += [text] * REPEATS.get(name, 1)
    random.shuffle(train)
    return train, held_out


def train_tokenizer(books, chats, other):
    def sample():
        for book in random.sample(books, min(260, len(books))):
            for start in range(0, len(book), 200_000):
                yield book[start:start + 60_000]
        for texts in chats.values():
            yield from texts[:3000]
        for text in random.sample(other, min(4000, len(other))):
            yield text[:2000]

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(sample(), trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=SPECIAL, min_frequency=5,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|bos|> $A", pair="<|bos|> $A <|bos|> $B", special_tokens=[("<|bos|>", BOS)])
    return tokenizer


def write_ids(tokenizer, path, texts):
    """Texts in random order, one after the other."""
    if not texts:
        return
    pieces = []
    for start in range(0, len(texts), 32):
        for coded in tokenizer.encode_batch(texts[start:start + 32], add_special_tokens=False):
            pieces.append(numpy.array(coded.ids + [EOS], dtype=numpy.uint16))
    random.shuffle(pieces)
    ids = numpy.concatenate(pieces)
    ids.tofile(path)
    print(f"{path.name}: {ids.size:,} tokens", flush=True)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source, out = map(pathlib.Path, sys.argv[1:])
    random.seed(1)
    out.mkdir(parents=True, exist_ok=True)
    books, other, chats = read_books(source, "train"), read_other(source), read_chats(source)
    tokenizer = train_tokenizer(books, chats, other)
    tokenizer.save(str(out / "tokenizer.json"))
    train_chats, held_out_chats = split_chats(chats)
    for name, texts in (("books", books), ("valid_books", read_books(source, "valid")),
                        ("test_books", read_books(source, "test")), ("chat", train_chats),
                        ("valid_chat", held_out_chats), ("other", other)):
        write_ids(tokenizer, out / f"{name}.bin", texts)


if __name__ == "__main__":
    main()
