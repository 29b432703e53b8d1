#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Condenses golden tokenizations: one file of texts, and a file a tokenizer without them.

    condense.py GOLDEN_DIRECTORY NAME...     writes texts.json and NAME.golden.json beside this file

GOLDEN_DIRECTORY/NAME.jsonl has a line a text: {"text", "ids", "ids_special", "decoded"}. A line of
NAME.golden.json is [ids, ids_special, decoded]; decoded is null where it is the text itself.
"""
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent


def main(source, names):
    texts = None
    for name in names:
        rows = [json.loads(line) for line in open(pathlib.Path(source) / (name + ".jsonl"), encoding="utf-8")]
        if texts is None:
            texts = [row["text"] for row in rows]
            lines = ",\n".join(json.dumps(text) for text in texts)
            (HERE / "texts.json").write_text("[\n" + lines + "\n]\n")
        assert texts == [row["text"] for row in rows], name
        lines = ",\n".join(json.dumps([row["ids"], row["ids_special"],
                                       None if row["decoded"] == row["text"] else row["decoded"]],
                                      separators=(",", ":")) for row in rows)
        (HERE / (name + ".golden.json")).write_text("[\n" + lines + "\n]\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
