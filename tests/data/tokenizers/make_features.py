#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes features.json: small changes to tokenizer.json files, and what Hugging Face tokenizers makes of
texts with each.

    npm install tokenizers@0.23.2 && make_features.py        (node finds the package in this directory)

A variant is a base file with some keys set; its rows are [ids, ids_special, decoded] by text, where
ids_special is null if it is ids, and decoded null if it is the text. The two other bases come from the
SentencePiece models here.
"""
import base64
import json
import pathlib
import random
import struct
import subprocess

HERE = pathlib.Path(__file__).parent
R = random.Random(11)


# ---- SentencePiece models, and a small precompiled_charsmap

def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def fields(data):
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        elif key & 7 == 2:
            n, at = varint(data, at)
            value, at = data[at:at + n], at + n
        else:
            value, at = struct.unpack("<f", data[at:at + 4])[0], at + 4
        yield key >> 3, value


def pieces(name):
    out = []
    for number, value in fields((HERE / name).read_bytes()):
        if number == 1:
            piece = {1: b"", 2: 0.0, 3: 1, **dict(fields(value))}
            out.append((piece[1].decode(), piece[2], piece[3]))
    return out


def charsmap(pairs):
    """darts-clone's double array: children of a node lie at offset ^ byte, its leaf at offset ^ 0."""
    texts, tree = b"", {}
    for key, to in sorted(pairs.items()):
        node = tree
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node[None] = len(texts)
        texts += to.encode() + b"\0"
    units, taken = {0: 0}, {0}

    def place(node, at):
        labels = [0 if byte is None else byte for byte in node]
        offset = 1
        while any((at ^ offset ^ label) in taken for label in labels):
            offset += 1
        assert offset < 1 << 21
        units[at] |= offset << 10 | (1 << 8 if None in node else 0)
        taken.update(at ^ offset ^ label for label in labels)
        for byte, child in node.items():
            if byte is None:
                units[at ^ offset] = child | 1 << 31
            else:
                units[at ^ offset ^ byte] = byte
        for byte, child in node.items():
            if byte is not None:
                place(child, at ^ offset ^ byte)

    place(tree, 0)
    size = (max(units) | 255) + 1
    trie = b"".join(struct.pack("<I", units.get(i, 0)) for i in range(size))
    return base64.b64encode(struct.pack("<I", len(trie)) + trie + texts).decode()


# ---- Bases

def added(content, i, **more):
    return {"id": i, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": False, **more}


def listed(vocabulary):
    return [added(text, i, special=kind in (2, 3)) for i, (text, _, kind) in enumerate(vocabulary) if kind in (2, 3, 4)]


def whole(model, added_tokens=(), **more):
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": list(added_tokens),
            "normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None, "model": model, **more}


def unigram():
    vocabulary = pieces("sp-unigram-nobyte.model")
    return whole({"type": "Unigram", "unk_id": 0, "byte_fallback": False,
                  "vocab": [[text, score] for text, score, _ in vocabulary]}, listed(vocabulary))


def bpe_model(vocab, merges, **more):
    return {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": vocab, "merges": [list(pair) for pair in merges], **more}


def llama():
    vocabulary = pieces("sp-bpe.model")
    vocab = {text: i for i, (text, _, _) in enumerate(vocabulary)}
    merges = sorted((-score, vocab[text[:k]], vocab[text[k:]], text[:k], text[k:])
                    for text, score, kind in vocabulary if kind == 1
                    for k in range(1, len(text)) if text[:k] in vocab and text[k:] in vocab)
    return whole(bpe_model(vocab, [m[3:] for m in merges], fuse_unk=True, byte_fallback=True), listed(vocabulary))


def marked(inner, last, pairs, **more):
    vocab = {"<unk>": 0}
    for letter in "abcdefghijklmnopqrstuvwxyz":
        for text in (letter, inner + letter + last):
            vocab.setdefault(text, len(vocab))
    for a, b in pairs:
        vocab.setdefault(a + b[len(inner):], len(vocab))
    return bpe_model(vocab, pairs, **more)


# ---- Variants

def sequence(key, *items):
    return {"type": "Sequence", key: list(items)}


def variants(gpt2):
    level = gpt2["pre_tokenizer"]
    plain = {**level, "use_regex": False}
    rows = []

    def add(name, base, **keys):
        rows.append({"name": name, "base": base, "set": keys})

    def change(name, **keys):
        add(name, "bpe-gpt2", **keys)

    more = gpt2["added_tokens"] + [
        added("<l>", 700, lstrip=True), added("<r>", 701, rstrip=True), added("word", 702, single_word=True),
        added("Norm", 703, normalized=True), added("<both>", 704, lstrip=True, rstrip=True, special=True),
        added("norming", 705, single_word=True, normalized=True), added("<|im", 706)]
    change("added", added_tokens=more)
    change("added prefix", added_tokens=more, pre_tokenizer={**level, "add_prefix_space": True})
    for form in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents"):
        change(form, normalizer={"type": form})
    change("three", normalizer=sequence("normalizers", {"type": "NFD"}, {"type": "StripAccents"}, {"type": "Lowercase"}))
    for left, right in ((True, False), (False, True)):
        change("Strip", normalizer={"type": "Strip", "strip_left": left, "strip_right": right})
    change("Replace", normalizer={"type": "Replace", "pattern": {"String": "th"}, "content": "TH"})
    change("Replace pattern", normalizer={"type": "Replace", "pattern": {"Regex": "[aeiou]*\\s"}, "content": "<>"})
    change("Prepend", normalizer={"type": "Prepend", "prepend": "xx"})
    for behavior in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        change("Punctuation", pre_tokenizer=sequence("pretokenizers", {"type": "Punctuation", "behavior": behavior}, plain))
        for invert in (False, True):
            for pattern in ({"String": " "}, {"String": "th"}, {"Regex": "\\s+|[0-9]"}, {"Regex": "(?=[A-Z])|\\."}):
                change("Split", pre_tokenizer=sequence("pretokenizers", {
                    "type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}, plain))
    change("Digits", pre_tokenizer=sequence("pretokenizers", {"type": "Digits", "individual_digits": True}, level))
    change("Whitespace", pre_tokenizer=sequence("pretokenizers", {"type": "Whitespace"}, plain))
    change("WhitespaceSplit", pre_tokenizer=sequence("pretokenizers", {"type": "WhitespaceSplit"},
                                                     {**level, "add_prefix_space": True}))
    change("bytes", pre_tokenizer=sequence("pretokenizers", level, {"type": "Punctuation", "behavior": "Isolated"},
                                           {"type": "Digits", "individual_digits": True}))
    for pattern in ("\\w+", "\\b", "(?<=[aeiou])[a-z]"):
        change("looks", pre_tokenizer=sequence("pretokenizers", {
            "type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}, plain))
    change("Roberta", post_processor={"type": "RobertaProcessing", "sep": ["<|eos|>", 1], "cls": ["<|bos|>", 0],
                                      "trim_offsets": True, "add_prefix_space": False})

    def metaspace(scheme, split):
        return {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": split}

    mapped = {"type": "Precompiled", "precompiled_charsmap": charsmap({
        "\ufb01": "fi", "\u2460": "1", "e\u0301": "\u00e9", "\u00a0": " ", "\u00bd": "1\u20442",
        "\t": " ", "\u304b\u3099": "\u304c", "\u200d": "", "\U0001f1e8": "C"})}
    for scheme in ("always", "first", "never"):
        for split in (True, False):
            add("Metaspace", "unigram", pre_tokenizer=metaspace(scheme, split), decoder=metaspace(scheme, split))
    always = metaspace("always", True)
    add("Precompiled", "unigram", normalizer=mapped, pre_tokenizer=always, decoder=always)
    add("Precompiled and more", "unigram", pre_tokenizer=metaspace("first", True), decoder=always,
        normalizer=sequence("normalizers", mapped, {"type": "Strip", "strip_left": True, "strip_right": True},
                            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "\u2581"}))
    add("T5", "unigram", normalizer=mapped, decoder=always,
        pre_tokenizer=sequence("pretokenizers", {"type": "WhitespaceSplit"}, always),
        post_processor={"type": "TemplateProcessing", "single": [
            {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}], "pair": [
            {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [2], "tokens": ["</s>"]}}})

    prepend = sequence("normalizers", {"type": "Prepend", "prepend": "\u2581"},
                       {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"})

    def fuse(*last):
        return sequence("decoders", {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
                        {"type": "ByteFallback"}, {"type": "Fuse"}, *last)

    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    add("legacy", "llama", normalizer=prepend, decoder=fuse(strip))
    add("two", "llama", normalizer=prepend, decoder=fuse({**strip, "start": 2}))
    for split in (False, True):
        add("first", "llama", pre_tokenizer=metaspace("first", split), decoder=fuse(strip))
    model = llama()["model"]
    for keys in ({}, {"fuse_unk": False}, {"unk_token": None}):
        changed = {"byte_fallback": False, **keys}
        add("no bytes", "llama", normalizer=prepend, decoder=fuse(strip), model={"+": changed})
    assert model["byte_fallback"]
    add("inner mark", None, **whole(marked("##", "", [("t", "##h"), ("th", "##e"), ("##i", "##n"), ("##in", "##g"),
                                                      ("a", "##n"), ("an", "##d")], continuing_subword_prefix="##"),
                                    pre_tokenizer={"type": "WhitespaceSplit"}, decoder={"type": "Fuse"}))
    add("last mark", None, **whole(marked("", "</w>", [("t", "h"), ("th", "e</w>"), ("i", "n"), ("in", "g</w>"),
                                                       ("a", "n"), ("an", "d</w>")], end_of_word_suffix="</w>"),
                                   pre_tokenizer={"type": "Whitespace"}, decoder={"type": "Fuse"}))
    return rows


PARTS = ["a", "b", " ", "  ", "\n", "7", "'", "s", "\u00e9", "\u0435", "\u4f60", "\U0001f642", ".", ",", "Z", "\t", "-",
         "_", "00", "the ", "The", " and", "ing", "e\u0301", "\u0323", "<l>", "<r>", "word", "Norm", "norm", "norming",
         "<both>", "<|im_start|>", "<|im", "<|bos|>", "</s>", "<s>", "<unk>", "\u2581", "\u00a0", "\ufb01", "\u00bd",
         "\u2460", "\uac00", "\u1100\u1161\u11a8", "\uff76\uff9e", "\u304b\u3099", "\U0001f469\u200d\U0001f467",
         "\U0001f1e8\U0001f1ed", "\r\n", "\u0000", "\u200d", "\u01c5", "\u0130", "\u00df", "AbC", "\u2167", "\u0968",
         "$", "+", "\u00abx\u00bb", "\u180e", "\u0085", "\u2028", "th", "abba", "\u017f"]

NODE = """
const {Tokenizer} = require('tokenizers'), fs = require('fs');
(async () => {
  const {files, texts} = JSON.parse(fs.readFileSync(0));
  const all = [];
  for (const file of files) {
    const t = Tokenizer.fromString(JSON.stringify(file)), rows = [];
    for (const text of texts) {
      const ids = (await t.encode(text, null, {addSpecialTokens: false})).getIds();
      const special = (await t.encode(text, null, {addSpecialTokens: true})).getIds();
      rows.push([ids, special, await t.decode(ids, false)]);
    }
    all.push(rows);
  }
  console.log(JSON.stringify(all));
})();
"""


def main():
    bases = {"bpe-gpt2": json.loads((HERE / "bpe-gpt2.json").read_text()), "unigram": unigram(), "llama": llama()}
    texts = ["", " ", "  x  ", "\n", "The word, the 123 words. and NORM"]
    texts += ["".join(R.choice(PARTS) for _ in range(R.randint(2, 14))) for _ in range(35)]
    rows, files = variants(bases["bpe-gpt2"]), []
    for row in rows:
        file = {**bases.get(row["base"], {}), **row["set"]}
        if "+" in file["model"]:
            file["model"] = {**bases[row["base"]]["model"], **file["model"]["+"]}
        files.append(file)
    done = subprocess.run(["node", "-e", NODE], input=json.dumps({"files": files, "texts": texts}), check=True,
                          capture_output=True, text=True)
    for row, cases in zip(rows, json.loads(done.stdout)):
        row["rows"] = [[ids, None if ids == special else special, None if text == decoded else decoded]
                       for text, (ids, special, decoded) in zip(texts, cases)]
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    with open(HERE / "features.json", "w") as file:
        file.write('{"texts":%s,\n"bases":%s,\n"variants":[\n%s\n]}\n' % (
            json.dumps(texts), json.dumps({k: bases[k] for k in ("unigram", "llama")}, separators=(",", ":")), lines))


if __name__ == "__main__":
    main()
