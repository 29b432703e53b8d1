#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Prints questions in ARC's form made of novels: what docs/results.md measures `rill eval arc` on.

    scripts/cloze.py BOOK.txt ...     text with a paragraph a line

A question is three sentences of a paragraph without their last word; the choices are that word and three
others that end such sentences in the same book, so guessing is right once in four times. The books take
turns. One seeded generator makes every choice.
"""
import json
import random
import re
import sys

SENTENCES = 3
WORDS = range(20, 90)  # of a question
ENDING = re.compile(r"^(.*) ([a-z]{4,})[.!?]$", re.DOTALL)
BREAK = re.compile(r"(?<=[.!?]) (?=[A-Z])")
LABELS = "ABCD"
SEED = 0
EACH = 100  # questions of a book


def endings(path):
    """(text before the last word, last word) of stretches of a book that qualify."""
    with open(path, encoding="utf-8") as book:
        for paragraph in filter(None, map(str.strip, book)):
            sentences = BREAK.split(paragraph)
            for i in range(0, len(sentences) - SENTENCES + 1, SENTENCES):
                text = " ".join(sentences[i : i + SENTENCES])
                found = ENDING.match(text)
                if found and len(text.split()) in WORDS:
                    yield found.groups()


def questions(path, random_):
    """The book's questions as objects."""
    found = list(endings(path))
    words = sorted({word for _, word in found})
    for text, word in random_.sample(found, min(EACH, len(found))):
        texts = [word, *random_.sample([other for other in words if other != word], 3)]
        random_.shuffle(texts)
        yield {
            "question": text,
            "choices": {"text": texts, "label": list(LABELS)},
            "answerKey": LABELS[texts.index(word)],
        }


def main(paths):
    random_ = random.Random(SEED)
    for turn in zip(*[list(questions(path, random_)) for path in paths]):
        for question in turn:
            print(json.dumps(question))


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    main(sys.argv[1:])
