# SPDX-License-Identifier: MIT
"""rill eval latency: what its columns mean, and that what is done is not measured again."""
import csv
import json
import os
import shutil
import signal
import unittest

from support import Test, Watched, main, rill

SHORT = ["eval", "latency", "--capacity", "32,48", "--tokens", "24", "--runs", "2",
         "--recompute-tokens", "2", "--chunk", "16"]


def rows(*args):
    out, err = rill(*SHORT, *args, "--json")
    assert err == "", err
    return [json.loads(line) for line in out.splitlines()]


class Latency(Test):
    def test_columns(self):
        found = rows()
        self.assertEqual([(row["capacity"], row["attention"]) for row in found],
                         [(c, m) for c in (32, 48)
                          for m in ("streaming", "dense", "recompute", "prefill")])
        self.assertEqual({(row["model"], row["cache_type"]) for row in found}, {("rill-30m", "f16")})
        self.assertEqual([(row["sinks"], row["window"]) for row in found[:4]],
                         [(4, 28), (0, 32), (0, 32), (0, 32)])
        facts = json.loads(rill("info", "--json")[0])
        by_name = {(row["capacity"], row["attention"]): row for row in found}
        for (capacity, method), row in by_name.items():
            self.assertGreater(row["p50_seconds"], 0)
            self.assertLessEqual(row["p50_seconds"], row["p99_seconds"])
            self.assertLessEqual(row["p99_seconds"], row["worst_seconds"])
            self.assertLessEqual(row["run_low_seconds"], row["p50_seconds"])
            self.assertLessEqual(row["p50_seconds"], row["run_high_seconds"])
            self.assertLessEqual(row["mean_seconds"], row["worst_seconds"])
            self.assertAlmostEqual(row["share"], row["roof_seconds"] / row["p50_seconds"])
            evicts = method in ("streaming", "recompute")
            self.assertEqual(row["evicted"], row["timed"] if evicts else 0)
            held = capacity + (15 if method == "streaming" else 0)
            self.assertEqual(row["cache_bytes"], held * facts["token_bytes"])
            self.assertGreater(row["resident_bytes"], row["stream_bytes"])
            streaming = by_name[capacity, "streaming"]["p50_seconds"]
            if method != "streaming":
                self.assertAlmostEqual(row["of_streaming"], row["p50_seconds"] / streaming)
        for capacity in (32, 48):
            recompute = by_name[capacity, "recompute"]
            self.assertAlmostEqual(recompute["of_reading"],
                                   recompute["p50_seconds"] / by_name[capacity, "prefill"]["p50_seconds"])
            # A pass over 32 tokens and more costs several times one token.
            self.assertGreater(recompute["of_streaming"], 2)
            self.assertEqual(by_name[capacity, "streaming"]["timed"], 24)
            self.assertEqual(recompute["timed"], 4)

    def test_types(self):
        args = ["--attention", "streaming", "--resume", self.path("j"), "--cache-type"]
        first = rows(*args, "f16")
        found = rows(*args, "f16,q8_0/f16")
        self.assertEqual([(row["capacity"], row["cache_type"]) for row in found],
                         [(c, t) for c in (32, 48) for t in ("f16", "q8_0/f16")])
        # Which others there are is nothing to what was timed.
        self.assertEqual([row["p50_seconds"] for row in found[::2]],
                         [row["p50_seconds"] for row in first])
        for row in found:
            facts = json.loads(rill("info", "--cache-type", row["cache_type"], "--json")[0])
            self.assertEqual(row["cache_bytes"], (row["capacity"] + 15) * facts["token_bytes"])
        exact, = rows("--attention", "window", "--capacity", "16", "--exact", "--tokens", "4")
        self.assertEqual(exact["cache_type"], "f32")

    def test_dense_ends_with_its_cache(self):
        # Of 200 tokens in two runs, a cache of 32 has room for its second half, twice.
        row, = [row for row in rows("--attention", "dense", "--tokens", "200")
                if row["capacity"] == 32]
        self.assertEqual(row["timed"], 32)

    def test_what_is_done_is_not_measured_again(self):
        journal, table = self.path("journal"), self.path("table.csv")
        first = rows("--attention", "streaming", "--resume", journal)
        again = rows("--attention", "streaming", "--resume", journal, "--csv", table)
        self.assertEqual(first, again)
        more = rows("--attention", "streaming,window", "--resume", journal)
        self.assertEqual([row["p50_seconds"] for row in more if row["attention"] == "streaming"],
                         [row["p50_seconds"] for row in first])
        with open(table, newline="") as file:
            self.assertEqual([float(line["worst_seconds"]) for line in csv.DictReader(file)],
                             [row["worst_seconds"] for row in first])
        self.refused(1, ["12 timed"], *SHORT, "--tokens", "30",
                     "--attention", "streaming", "--resume", journal)

    def test_one_that_does_not_fit_stops_no_other(self):
        found = rows("--capacity", "400000000,32")
        self.assertEqual([row["capacity"] for row in found], [400000000] * 4 + [32] * 4)
        for row in found[:4]:
            self.assertIn("memory", row["error"])
            self.assertIsNone(row["p50_seconds"])
        for row in found[4:]:
            self.assertIsNone(row["error"])
            self.assertGreater(row["p50_seconds"], 0)
        args = [*SHORT, "--attention", "streaming,dense", "--capacity"]
        self.assertIn("dense 400000000 did not finish: ", rill(*args, "400000000,32")[0].decode())
        rill(*args, "400000000", status=1)

    def test_an_interrupted_one_goes_on(self):
        args = ["--attention", "streaming,dense", "--capacity", "32,1200", "--resume",
                self.path("journal")]
        measuring = Watched(*SHORT, *args, "--json")
        measuring.until("1200 (2 of 2) [")
        measuring.until("tokens/s")
        status, out = measuring.end(signal.SIGINT)
        self.assertEqual(status, 130)
        self.assertIn("the same command goes on from there", measuring.text)
        done = [json.loads(line) for line in out.splitlines()]
        self.assertEqual([(row["capacity"], row["timed"], row["error"]) for row in done[:2]],
                         [(32, 24, None)] * 2)
        for row in done[2:]:
            self.assertEqual((row["capacity"], row["timed"], row["error"]), (1200, 12, "interrupted"))
        found = rows(*args)
        self.assertEqual(len(found), 4)
        self.assertEqual({row["error"] for row in found}, {None})
        # Ratios and roofs beside, it is what was measured before.
        self.assertEqual([row["p50_seconds"] for row in found[:2]],
                         [row["p50_seconds"] for row in done[:2]])

    @unittest.skipUnless(shutil.which("gnuplot"), "gnuplot is not installed")
    def test_figures(self):
        rows("--figure", self.path("t.svg"), "--attention", "dense", "--cache-type", "f16,q8_0")
        with open(self.path("t.svg")) as file:
            drawn = file.read()
        for name in ("dense, f16", "dense, q8_0"):
            self.assertIn(f">{name}<", drawn)
        rows("--figure", self.path("f.svg"), "--capacity", "32,40,400000000")
        for name, kinds in (("f.svg", 4), ("f-memory.svg", 3)):
            with open(self.path(name)) as file:
                drawn = file.read()
            for kind in ("streaming", "dense", "recompute", "prefill")[:kinds]:
                self.assertIn(f">{kind}<", drawn)

    def test_for_people(self):
        out = rill(*SHORT, "--attention", "streaming,recompute")[0].decode()
        for words in ("p50", "p99", "worst", "x streaming", "x reading", "GB/s", "none is left out"):
            self.assertIn(words, out)

    def test_refused(self):
        self.refused(2, ["--type", "--synthetic"], *SHORT, "--type", "q8_0")
        self.refused(2, ["--synthetic", "given too"], *SHORT, "model.gguf", "--synthetic",
                     "llama-1b")
        self.refused(2, ["--capacity", "at least 2"], *SHORT, "--attention", "window", "--capacity",
                     "1")
        self.refused(2, ["--capacity", "32 sinks"], *SHORT, "--sinks", "32")
        # Before anything is timed, wherever in the list it stands.
        self.refused(2, ["--capacity: 4", "4 sinks"], *SHORT, "--capacity", "64,4", "--resume",
                     self.path("j"))
        self.assertEqual(os.listdir(self.path("j")), [])
        self.refused(2, ["--attention", "wants"], *SHORT, "--attention", "prefill")


main()
