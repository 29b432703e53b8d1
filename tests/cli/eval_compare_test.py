# SPDX-License-Identifier: MIT
"""rill eval compare: each way is what perplexity says of it, how far it is stable, and what failed."""
import math
import os
import resource
import shutil
import unittest

from support import Interrupted, main, rill, rows, table


class Compare(Interrupted):
    def test_ways(self):
        args = ["-f", self.text(8), "--tokens", "700", "--every", "50", "--sinks", "4", "--csv",
                self.path("t.csv")]
        made = {r["way"]: r for r in self.rows("compare", *args)}
        self.assertEqual(list(made), ["dense", "window", "recompute", "interpolation", "NTK-aware",
                                      "streaming"])
        # Each is what perplexity says of the same configuration.
        for way, others in (("streaming", ["--sinks", "4"]), ("window", ["--attention", "window"]),
                            ("dense", ["--attention", "dense", "--over-context"]),
                            ("interpolation", ["--attention", "dense", "--over-context",
                                               "--rope-scaling", "linear"])):
            row, = self.rows("perplexity", "-f", self.text(8), "--tokens", "700", *others)
            self.assertAlmostEqual(made[way]["mean_nll"], row["mean_nll"], delta=1e-6)
            self.assertEqual(made[way]["cache_bytes"], row["cache_bytes"])
        self.assertEqual((made["recompute"]["tokens"], made["recompute"]["sinks"]), (14, 4))
        curve = table(self.path("t-curve.csv"))
        for way, row in made.items():
            mine = [r for r in curve if r["way"] == way]
            self.assertEqual((mine[-1]["position"], {r["attention"] for r in mine}),
                             ("700", {row["attention"]}))
            if row["mean_nll"]:
                self.assertAlmostEqual(float(mine[-1]["running_mean_nll"]), row["mean_nll"],
                                       delta=1e-9)
        self.assertIsNone(made["recompute"]["perplexity"])
        for row in made.values():
            self.assertGreater(row["seconds_per_token"], 0)
            self.assertAlmostEqual(math.exp(row["sampled_mean_nll"]), row["sampled_perplexity"],
                                   delta=1e-9 * row["sampled_perplexity"])
            self.assertEqual((row["sampled_tokens"], row["cache_type"]), (14, "f16"))
        self.assertEqual([r["attention"] for r in made.values()],
                         ["dense", "window", "recompute", "dense", "dense", "streaming"])
        self.assertEqual(made["streaming"]["reached"], 700)
        self.assertGreater(made["recompute"]["seconds_per_token"],
                           5 * made["streaming"]["seconds_per_token"])
        page = rill("eval", "compare", "-f", self.text(), "--tokens", "60", "--factor", "1.7")[0]
        self.assertIn(b"loss <= 1.7 x", page)

    def test_the_factor_is_of_the_stretched_ways(self):
        made = {r["way"]: r["kept"] for r in self.rows("compare", "-f", self.text(), "--tokens", "60",
                                                       "--rope-factor", "4")}
        self.assertEqual({way: kept for way, kept in made.items() if "x" in kept},
                         {"interpolation": "all, x4", "NTK-aware": "all, x4"})

    def test_stable_to_is_what_it_says(self):
        args = ["-f", self.text(8), "--tokens", "200"]
        losses = [r["mean_nll"] for r in self.rows(
            "perplexity", *args, "--attention", "window", "--window", "8", "--bucket", "1")[1:]]
        self.assertEqual(len(losses), 200)
        running = [sum(losses[i - 100:i]) for i in range(100, 201)]  # half of a short text
        greatest = max(running) / running[0]
        self.assertGreater(greatest, 1.02)
        for factor in (1 + (greatest - 1) / 3, 1 + (greatest - 1) / 2):
            wanted = next(i for i, r in enumerate(running) if r > factor * running[0]) + 99
            made = {r["way"]: r for r in self.rows("compare", *args, "--sinks", "0", "--window", "8",
                                                   "--every", "50", "--factor", str(factor))}
            self.assertEqual(made["window"]["reached"], wanted)

    def test_goes_on_with_what_it_has(self):
        args = ["compare", "-f", self.text(20), "--tokens", "2000", "--capacity", "40", "--every",
                "100", "--json", "--threads", "1"]
        resuming = [*args, "--resume", self.path("j")]
        dense, window = self.interrupted(*resuming, during="window (2 of 6) [")
        self.assertEqual((dense["way"], dense["tokens"], dense["error"]), ("dense", 2000, None))
        self.assertIn(f"interrupted after {window['tokens']} of 2000", window["error"])
        self.assertEqual(self.streams(self.path("j")), ["compare-window-0+40-f16.stream"])
        resumed = rill("eval", *resuming)[0]
        self.assertEqual(rows(resumed)[0], dense)
        self.assertEqual(rill("eval", *resuming)[0], resumed)
        self.assertEqual(self.numbers(resumed), self.numbers(rill("eval", *args)[0]))

    def test_times_are_of_one_machine_setting(self):
        args = ["compare", "-f", self.text(), "--tokens", "60", "--every", "20"]
        journal = ["--resume", self.path("j")]
        rill("eval", *args, *journal, "--threads", "1")
        self.refused(1, ["1 thread", "2 threads"], "eval", *args, *journal, "--threads", "2")
        self.refused(1, ["chunk 7"], "eval", *args, *journal, "--threads", "1", "--chunk", "7")
        # Losses do not depend on it, and perplexity times no tokens.
        args[0] = "perplexity"
        journal = ["--resume", self.path("p")]
        first = self.rows(*args, *journal, "--threads", "1")
        self.assertEqual(self.rows(*args, *journal, "--threads", "2"), first)

    def test_types_of_values_are_cases_of_their_own(self):
        args = ["-f", self.text(), "--tokens", "60", "--every", "20", "--resume", self.path("j")]
        first = self.rows("compare", *args, "--cache-type", "f16")
        mixed = self.rows("compare", *args, "--cache-type", "f16/q8_0")
        self.assertEqual(self.rows("compare", *args, "--cache-type", "f16"), first)
        self.assertNotEqual([r["cache_bytes"] for r in mixed], [r["cache_bytes"] for r in first])

    def test_a_way_that_failed_is_not_what_the_notes_are_about(self):
        # The last row has no losses: the others' are what is stable or not.
        page = rill("eval", "compare", "-f", self.text(), "--tokens", "120", "--every", "20",
                    "--window", "400000000")[0].decode()
        self.assertIn("streaming did not finish: ", page)
        self.assertIn("mean of the last 60 losses is", page)
        self.assertNotIn("last 0 losses", page)
        self.assertRegex(page, r"\nstreaming +4\+400000000( +-)+  no\n")

    @unittest.skipIf("RILL_SANITIZED" in os.environ, "a sanitizer takes more memory than the limit")
    def test_when_no_way_fits_it_fails(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_AS, (3 << 29, 3 << 29))
        args = ["eval", "compare", "--json", "-f", self.text(2000), "--window", "2000000"]
        out = rill(*args, "--tokens", "400000", preexec_fn=limit, status=1)[0]
        self.assertEqual(len(rows(out)), 6)
        for row in rows(out):
            self.assertIn("memory", row["error"])

    @unittest.skipUnless(shutil.which("gnuplot"), "gnuplot is not installed")
    def test_every_way_has_its_curve(self):
        rill("eval", "compare", "-f", self.text(4), "--tokens", "600", "--every", "50", "--figure",
             self.path("f.svg"))
        with open(self.path("f.svg")) as file:
            drawn = file.read()
        for label in ("dense", "window", "recompute (sampled)", "interpolation", "NTK-aware",
                      "streaming", "trained context"):
            self.assertIn(f">{label}<", drawn)

    def test_wrong(self):
        # Before the text is read, which here is not there.
        self.refused(2, ["--factor"], "eval", "compare", "-f", "nowhere", "--factor", "1")


main()
