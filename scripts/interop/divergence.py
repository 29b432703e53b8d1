#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares rill's logits with llama.cpp's probabilities of the same file and tokens.

    rill logits MODEL.gguf --tokens IDS --exact --attention dense --out ours.safetensors
    node probabilities.mjs MODEL.gguf IDS > theirs.json
    divergence.py ours.safetensors theirs.json

Prints the mean Kullback-Leibler divergence in nats a token, and how often the first choice is the same.
"""
import json
import math
import struct
import sys


def read_logits(path):
    """Rows of the one tensor of the file."""
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        rows, columns = json.loads(file.read(size))["logits"]["shape"]
        return [struct.unpack(f"<{columns}f", file.read(4 * columns)) for _ in range(rows)]


def logarithms(logits):
    greatest = max(logits)
    total = greatest + math.log(sum(math.exp(x - greatest) for x in logits))
    return [x - total for x in logits]


def first(row):
    return max(range(len(row)), key=lambda i: -math.inf if row[i] is None else row[i])


def main(ours, theirs):
    rows = [logarithms(row) for row in read_logits(ours)]
    with open(theirs, encoding="utf-8") as file:
        other = json.load(file)["rows"]
    # A probability that llama.cpp rounds to 0 is null.
    divergence = sum(math.exp(p) * (p - q) for a, b in zip(rows, other) for p, q in zip(a, b) if q is not None)
    agree = sum(first(a) == first(b) for a, b in zip(rows, other))
    print(f"{divergence / len(rows):.1e} nats a token, {agree} of {len(rows)} first choices the same")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
