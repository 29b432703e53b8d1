#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Prints the conversations of novels as chats in ChatML: what docs/results.md measures eviction by message on.

    scripts/dialogues.py BOOK.txt ...     text with a paragraph a line

A conversation is four or more paragraphs in a row that begin with speech. What is said in them, without
the quotation marks and who said it, is a message; user and assistant take turns.
"""
import re
import sys

SPEECH = re.compile(r'["\u201c]([^"\u201d]+)["\u201d]?')
SHORTEST = 4


def conversations(path):
    """Lists of messages."""
    run = []
    with open(path, encoding="utf-8") as book:
        for paragraph in filter(None, map(str.strip, book)):
            if paragraph[0] in '"\u201c':
                run.append(" ".join(part.strip() for part in SPEECH.findall(paragraph)))
                continue
            if len(run) >= SHORTEST:
                yield run
            run = []
    if len(run) >= SHORTEST:
        yield run


def main(paths):
    for path in paths:
        for messages in conversations(path):
            for i, text in enumerate(messages):
                print(f"<|im_start|>{('user', 'assistant')[i % 2]}\n{text}<|im_end|>")


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    main(sys.argv[1:])
