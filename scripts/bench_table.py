#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Prints the figures that scripts/bench.sh measured as the tables of docs/performance.md.

    scripts/bench_table.py FOLDER [PAGE]     with PAGE, they replace what stands between its two marks
"""
import json
import pathlib
import re
import statistics
import sys

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def machine(folder):
    """One line about the machine, in the words of lscpu, uname and the compiler."""
    return "; ".join((folder / "machine").read_text(encoding="utf-8").split("\n")).strip("; ") + "."


def size(row):
    """Tokens read, or tokens seen while writing."""
    return row["tokens"] if row["case"] == "prefill" else row["sinks"] + row["window"]


def tokens_a_second(folder):
    """A row a model, case, tier and number of threads: medians over the rounds."""
    groups = {}
    for line in (folder / "rill.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        key = row["model"], row["type"], row["case"], size(row), row["tier"], row["threads"]
        groups.setdefault(key, []).append(row)
    yield "| model | case | tier | threads | tokens/s | lowest to highest | roof | share | roof is |"
    yield "|---|---|---|---|---|---|---|---|---|"
    order = {"decode": 0, "prefill": 1}
    for key in sorted(groups, key=lambda k: (k[0] != "rill-30m", k[0], order[k[2]], k[4], k[5])):
        model, kind, case, tokens, tier, threads = key
        rows = groups[key]
        rate = statistics.median(r["tokens_per_second"] for r in rows)
        low, high = min(r["low"] for r in rows), max(r["high"] for r in rows)
        share = statistics.median(r["share"] for r in rows)
        by_bytes = statistics.median(r["roof_bytes_per_second"] / r["bytes_per_token"] for r in rows)
        by_flops = statistics.median(r["roof_flops_per_second"] / r["flops_per_token"] for r in rows)
        name = f"{case}, window {tokens:,}" if case == "decode" else f"{case} {tokens:,}"
        yield f"| {model} {kind} | {name} | {tier} | {threads} | {rate:,.1f} | {low:,.1f} to " \
              f"{high:,.1f} | {min(by_bytes, by_flops):,.1f} | {100 * share:.0f}% | " \
              f"{'memory' if by_bytes < by_flops else 'arithmetic'} |"


def products(folder):
    """The backend's products, a row a type, beside the roof of their run."""
    lines = (folder / "products").read_text(encoding="utf-8").splitlines()
    yield f"{lines[0].split(', ', 1)[1]}: {lines[1]}."
    yield ""
    yield "| weights | one row: GB/s | of reads | 512 rows: Gop/s | of f32 |"
    yield "|---|---|---|---|---|"
    pattern = re.compile(r"(\w+)\s+decode\s+([\d.]+) GB/s \(\s*(\d+) % of reads\), prefill\s+([\d.]+) "
                         r"Gop/s \(\s*(\d+) % of f32")
    for line in lines[2:]:
        match = pattern.match(line)
        if match:
            name, read, share, ops, share_f32 = match.groups()
            yield f"| {name} | {read} | {share}% | {ops} | {share_f32}% |"


def kernels(folder):
    """Single kernels: microseconds and how many times the reference's speed, a column a tier."""
    times, tiers = {}, []
    pattern = re.compile(r"(\S.*?)\s+(avx\w+)\s+([\d.]+) us\s+([\d.]+) times the reference")
    for line in (folder / "kernels").read_text(encoding="utf-8").splitlines():
        match = pattern.match(line)
        if match:
            name, tier, microseconds, ratio = match.groups()
            times.setdefault(name, {})[tier] = f"{microseconds} us, {ratio}"
            if tier not in tiers:
                tiers.append(tier)
    yield "| kernel | " + " | ".join(tiers) + " |"
    yield "|---" * (len(tiers) + 1) + "|"
    for name, row in times.items():
        yield f"| {name} | " + " | ".join(row.get(tier, "as before") for tier in tiers) + " |"


def section(folder):
    """All of it as the text between the marks."""
    yield machine(folder)
    yield ""
    yield from tokens_a_second(folder)
    yield "\n### Products\n"
    yield "One layer's product by itself, with all threads, weights far larger than the caches; "
    yield from products(folder)
    yield "\n### Kernels\n"
    yield "One thread; time of a call, and how many times as fast as the reference.\n"
    yield from kernels(folder)


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    text = "\n".join(section(pathlib.Path(sys.argv[1])))
    print(text)
    if len(sys.argv) == 3:
        page = pathlib.Path(sys.argv[2])
        before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
        _, mark, after = rest.partition(END)
        if not mark:
            sys.exit(f"bench_table: {page}: no {BEGIN} and {END} in it: put them where the tables go")
        page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
