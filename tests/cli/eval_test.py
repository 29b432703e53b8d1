# SPDX-License-Identifier: MIT
"""rill eval: many configurations in one call, going on after an interruption, files that come out."""
import math
import os
import resource
import shutil
import signal
import time
import unittest

from support import TEXT, Eval, Interrupted, Terminal, Watched, main, rill, rows, table

WAYS = ["--attention", "streaming,window,dense", "--sinks", "0,4", "--capacity", "32",
        "--over-context"]


class Usage(Eval):
    def test_measures_have_pages_of_their_own(self):
        group = rill("eval", "--help")[0]
        for measure in ("perplexity", "compare", "streameval", "arc", "latency", "memory"):
            self.assertIn(f"  rill eval {measure} ".encode(), group)
            page = rill("eval", measure, "--help")[0]
            self.assertTrue(page.startswith(f"Usage: rill eval {measure} ".encode()))
            self.assertEqual(page, rill("help", "eval", measure)[0])
            self.assertLess(max(map(len, page.splitlines())), 100)
        self.refused(2, ["did you mean rill eval perplexity?"], "eval", "perplexty")
        self.refused(2, ["no such option of rill eval perplexity"], "eval", "perplexity", "--pin",
                     "none")

    def test_lists(self):
        text = ["-f", self.text(), "--tokens", "40"]
        for option, bad, word in (
            ("--sinks", "1,,2", "commas"),
            ("--sinks", "1,x", "commas"),
            ("--window", "0", "from 1"),
            ("--sinks", "0" * 34 + "4", "commas"),  # not its first 31 zeros
            ("--attention", "dense" + " " * 40, "streaming|window"),
            ("--cache-type", "f16" + " " * 40, "K/V"),
            ("--window", ",".join(["9"] * 33), "more than 32"),
            ("--attention", "dense,all", "streaming|window"),
            ("--attention", "dense,dense", "streaming|window"),
            ("--cache-type", "f16,q3", "K/V"),
            ("--capacity", "4", "4 sinks"),
        ):
            self.refused(2, [option, word], "eval", "perplexity", *text, option, bad)
        self.refused(2, ["--memory", "8M"], "eval", "sinks", *text, "--memory", "0" * 22 + "81M")
        for measure in ("perplexity", "compare", "streameval", "arc", "memory"):
            of = ["-f", "nowhere"] if measure in ("perplexity", "compare", "arc") else []
            self.refused(2, ["--capacity", "--window"], "eval", measure, *of, "--window", "9",
                         "--capacity", "9")
        # What only a list has window and dense without; alone they are told.
        self.refused(2, ["--sinks"], "eval", "perplexity", *text, "--attention", "window", "--sinks",
                     "4")
        made = self.rows("perplexity", *text, "--attention", "streaming,recompute,window", "--sinks",
                         "0,4", "--window", "9,12", "--cache-type", "f16,f32/q8_0")
        self.assertEqual(len(made), (2 + 2 + 1) * 2 * 2)
        self.assertEqual(len({(r["attention"], r["sinks"], r["window"], r["cache_type"])
                              for r in made}), len(made))

    def test_figures_are_svg_and_png(self):
        for name in ("f.pdf", "f.svg.gz", "v1.2"):
            self.refused(2, ["--figure", name, ".svg or .png"], "eval", "perplexity", "-f",
                         "nowhere", "--figure", self.path(name))
        self.assertEqual(os.listdir(self.folder), [])

    def test_files_are_tried_before_the_work(self):
        text = ["eval", "perplexity", "-f", self.text(50)]
        before = time.monotonic()
        self.refused(1, [self.path("absent")], *text, "--csv", self.path("absent/t.csv"))
        self.refused(1, ["gnuplot-nox"], *text, "--figure", self.path("f.svg"),
                     env={**os.environ, "PATH": "/nowhere"})
        self.refused(1, ["not a directory"], *text, "--resume", self.write("file", b""))
        self.assertLess(time.monotonic() - before, 10)


class Perplexity(Eval):
    def test_several_configurations(self):
        path = self.path("table.csv")
        text = ["-f", self.text(), "--tokens", "150"]
        made = self.rows("perplexity", *text, *WAYS, "--csv", path)
        self.assertEqual([(r["attention"], r["sinks"], r["window"]) for r in made],
                         [("streaming", 0, 32), ("streaming", 4, 28), ("window", 0, 32),
                          ("dense", 0, 150)])
        plain, streaming, window, dense = made
        # Without sinks streaming is a window, with them better; all is best within the context.
        self.assertEqual(plain["mean_nll"], window["mean_nll"])
        self.assertLess(streaming["mean_nll"], window["mean_nll"])
        self.assertLess(dense["mean_nll"], streaming["mean_nll"])
        for row in made:  # alone it comes out the same
            alone = self.rows("perplexity", *text, "--attention", row["attention"], "--window",
                              str(row["window"]),
                              *(["--sinks", str(row["sinks"])] if row["sinks"] else
                                ["--sinks", "0"] if row["attention"] == "streaming" else []))
            self.assertEqual([r["mean_nll"] for r in alone], [row["mean_nll"]])
        self.assertEqual([float(r["mean_nll"]) for r in table(path)],
                         [r["mean_nll"] for r in made])
        last = [r for r in table(self.path("table-curve.csv")) if r["position"] == "150"]
        self.assertEqual(len(last), 4)
        for row, end in zip(made, last):
            self.assertAlmostEqual(float(end["running_mean_nll"]), row["mean_nll"], delta=1e-9)

    def test_bytes_and_words(self):
        text = b"One two  three\nfour, five. \xc3\xa9t\xc3\xa9 \n"
        row, = self.rows("perplexity", "-f", self.write("short.txt", text))
        nats = row["mean_nll"] * row["tokens"]
        # A begin token stands before the text, so all of it is predicted.
        self.assertAlmostEqual(row["byte_perplexity"], math.exp(nats / len(text)), delta=1e-9)
        self.assertAlmostEqual(row["word_perplexity"], math.exp(nats / 6),
                               delta=1e-9 * row["word_perplexity"])
        # However the text comes: in a pipe, a piece of a longer one.
        piped, = self.rows("perplexity", stdin=text)
        self.assertEqual(piped["mean_nll"], row["mean_nll"])
        cut, = self.rows("perplexity", "--tokens", str(row["tokens"]), stdin=text + b"and more")
        self.assertAlmostEqual(cut["byte_perplexity"], row["byte_perplexity"], delta=1e-9)

    def test_buckets_add_up(self):
        out = self.rows("perplexity", "-f", self.text(), "--tokens", "150", "--bucket", "40",
                        "--window", "20,28")
        whole, parts = out[:2], out[2:]
        self.assertEqual([r["position"] for r in parts], [40, 80, 120, 150] * 2)
        for i, row in enumerate(whole):
            mine = parts[4 * i:4 * i + 4]
            self.assertAlmostEqual(sum(r["mean_nll"] * r["tokens"] for r in mine),
                                   row["mean_nll"] * row["tokens"], delta=1e-9)
        page = rill("eval", "perplexity", "-f", self.text(), "--tokens", "150", "--bucket", "40",
                    "--window", "20,28")[0].decode()
        self.assertRegex(page, r"\n121 - 150 +\d+\.\d+ +\d+\.\d+\n")

    def test_every_nth(self):
        args = ["-f", self.text(), "--tokens", "120", "--window", "28"]
        recompute, window = self.rows("perplexity", *args, "--attention", "recompute,window",
                                      "--every", "10")
        self.assertEqual((recompute["tokens"], recompute["sampled_tokens"]), (12, 12))
        self.assertEqual((window["tokens"], window["sampled_tokens"]), (120, 12))
        self.assertEqual(recompute["mean_nll"], recompute["sampled_mean_nll"])
        # The tokens between are seen as well: the losses are those of predicting all.
        out = self.rows("perplexity", *args, "--attention", "recompute", "--bucket", "1")[1:]
        tenth = [r["mean_nll"] for r in out if r["position"] % 10 == 0]
        self.assertAlmostEqual(sum(tenth) / 12, recompute["mean_nll"], delta=1e-6)

    def test_buckets_of_every_nth(self):
        out = self.rows("perplexity", "-f", self.text(), "--tokens", "120", "--capacity", "32",
                        "--sinks", "0", "--attention", "recompute,streaming", "--every", "10",
                        "--bucket", "60")
        for i, whole in enumerate(out[:2]):
            mine = out[2 + 2 * i:4 + 2 * i]
            self.assertEqual([r["sampled_tokens"] for r in mine], [6, 6])
            self.assertAlmostEqual(sum(r["sampled_mean_nll"] for r in mine) / 2,
                                   whole["sampled_mean_nll"], delta=1e-9)
        self.assertEqual([r["tokens"] for r in out[2:]], [6, 6, 60, 60])

    def test_eviction_by_message(self):
        mark = "<|im_start|>"
        text = self.write("chat.txt", "".join(
            f"{mark}{role}\n{line}<|im_end|>\n" for role, line in
            zip(["user", "assistant"] * 99, TEXT.decode().split(". "))).encode())
        args = ["perplexity", "-f", text, "--tokens", "200", "--capacity", "48", "--evict",
                "token,message"]
        token, message = self.rows(*args, "--message-token", mark)
        self.assertEqual((token["evict"], message["evict"]), ("token", "message"))
        self.assertNotEqual(token["mean_nll"], message["mean_nll"])
        # Nothing has gone yet: then they are the same. And where no message begins, tokens go.
        first = [r["mean_nll"] for r in self.rows(*args, "--message-token", mark, "--bucket", "40")
                 if r.get("position") == 40]
        self.assertEqual(first[0], first[1])
        never = [r["mean_nll"] for r in self.rows(*args, "--message-token", "<|pad|>")]
        self.assertEqual(never, [token["mean_nll"]] * 2)
        # Dense and recompute are the same either way, and measured once.
        self.assertEqual(len(self.rows(*args, "--message-token", mark, "--attention",
                                       "dense,recompute")), 2)
        self.refused(2, ["--evict", "--message-token"], "eval", *args)
        self.refused(2, ["--message-token", "3 tokens"], "eval", *args, "--message-token", "abc def")
        self.refused(2, ["--evict", "token, message"], "eval", *args[:-1], "word")

    def test_random_weights_read_bytes(self):
        row, = self.rows("perplexity", "-f", self.text(), "--tokens", "40", "--synthetic",
                         "llama-1b:1", "--type", "q8_0", "--capacity", "32")
        self.assertEqual((row["model"], row["tokens"]), ("llama-1b:1", 40))
        self.assertEqual(row["byte_perplexity"], row["perplexity"])
        words = len(TEXT[1:41].split())
        self.assertAlmostEqual(math.log(row["word_perplexity"]) * words, row["mean_nll"] * 40,
                               delta=1e-9)

    def test_official_has_the_current_token_on_top(self):
        args = ["-f", self.text(), "--tokens", "150", "--attention", "streaming,window"]
        theirs = self.rows("perplexity", *args, "--capacity", "32", "--official")
        ours = self.rows("perplexity", *args, "--capacity", "33")
        self.assertEqual([r["mean_nll"] for r in theirs], [r["mean_nll"] for r in ours])
        self.assertEqual([r["window"] for r in theirs], [29, 33])
        # It changes nothing of what keeps all, or is computed anew.
        made = self.rows("perplexity", *args[:-1], "streaming,dense,recompute", "--capacity", "32",
                         "--every", "50", "--official")
        self.assertEqual([r["official"] for r in made], [True, None, None])
        self.assertEqual([r["official"] for r in ours], [False, False])

    @unittest.skipIf("RILL_SANITIZED" in os.environ, "a sanitizer takes more memory than the limit")
    def test_one_that_does_not_fit_stops_no_other(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_AS, (3 << 29, 3 << 29))
        args = ["-f", self.text(), "--tokens", "60", "--window", "30,2000000"]
        out = rill("eval", "perplexity", "--json", *args, preexec_fn=limit)[0]
        good, bad = rows(out)
        self.assertIsNone(good["error"])
        self.assertIn("memory", bad["error"])
        self.assertIsNone(bad["perplexity"])
        page = rill("eval", "perplexity", *args, preexec_fn=limit)[0].decode()
        self.assertIn("4+2000000 did not finish: ", page)

    def test_dense_ends_where_it_is_full_with_what_it_has(self):
        for size in ("--window", "--capacity"):
            out, err = rill("eval", "perplexity", "--json", "-f", self.text(), "--tokens", "150",
                            "--attention", "dense", size, "100", status=1)
            row, = rows(out)
            self.assertEqual(row["tokens"], 100)
            self.assertIn("room for 100", row["error"])

    def test_past_the_context_is_asked_for(self):
        self.refused(2, ["--over-context"], "eval", "perplexity", "-f", self.text(8), "--attention",
                     "streaming,dense")


class Resume(Interrupted):
    def test_goes_on_to_the_same_numbers(self):
        journal = self.path("journal")
        args = ["perplexity", "-f", self.text(20), "--tokens", "4000", "--window", "60,40",
                "--threads", "1", "--json", "--bucket", "100"]
        resuming = [*args, "--resume", journal]
        first, *_ = self.interrupted(*resuming, during="4+60 (1 of 2) [")
        self.assertIn(f"interrupted after {first['tokens']} of 4000", first["error"])
        self.assertEqual(self.streams(journal), ["perplexity-streaming-4+60-f16.stream"])
        # What was finished is printed, and is not computed again.
        done, cut, *_ = self.interrupted(*resuming, during="4+40 (2 of 2) [")
        self.assertEqual((done["tokens"], done["error"]), (4000, None))
        self.assertIn("interrupted", cut["error"])
        self.assertEqual(self.streams(journal), ["perplexity-streaming-4+40-f16.stream"])
        resumed = rill("eval", *resuming)[0]
        self.assertEqual(rows(resumed)[0], done)
        self.assertEqual(self.streams(journal), [])
        self.assertEqual(self.numbers(resumed), self.numbers(rill("eval", *args)[0]))
        # Finished cases are not computed again, not even their speed.
        before = time.monotonic()
        self.assertEqual(rill("eval", *resuming)[0], resumed)
        self.assertLess(time.monotonic() - before, 2)

    def test_another_command_is_refused(self):
        args = ["perplexity", "-f", self.text(), "--window", "30", "--resume", self.path("j")]
        rill("eval", *args, "--tokens", "50")
        self.refused(1, ["51 tokens", "41 tokens"], "eval", *args, "--tokens", "40")
        self.refused(1, ["scale 1", "scale 2"], "eval", *args, "--tokens", "50", "--sink-scale", "2")
        # Another configuration is another case.
        rill("eval", "perplexity", "-f", self.text(), "--window", "20", "--tokens", "40", "--resume",
             self.path("j"))

    def test_windows_of_dense_are_cases_of_their_own(self):
        args = ["-f", self.text(), "--tokens", "60", "--attention", "dense", "--resume",
                self.path("j")]
        first = self.rows("perplexity", *args, "--window", "70")
        both = self.rows("perplexity", *args, "--window", "70,80")
        self.assertEqual([r["window"] for r in both], [70, 80])
        self.assertEqual(both[:1], first)

    def test_what_is_finished_takes_no_memory(self):
        journal = self.path("j")
        args = ["perplexity", "-f", self.text(), "--tokens", "30", "--resume", journal, "--window"]
        done, = self.rows(*args, "40")
        self.claim_window(journal, 40, 400000000)
        again, = self.rows(*args, "400000000")
        self.assertEqual((again["mean_nll"], again["error"]), (done["mean_nll"], None))

    def test_without_a_journal_it_ends_with_what_it_has(self):
        measuring = Watched("eval", "perplexity", "--json", "-f", self.text(60), "--window", "4,8",
                            "--tokens", "20000", "--threads", "1")
        measuring.until("4+4 (1 of 2) [")
        measuring.until("tokens/s")
        status, out = measuring.end(signal.SIGINT)
        self.assertEqual(status, 130)
        self.assertRegex(measuring.text, r"rill: interrupted after \d+ of \d+ tokens\r\n$")
        row, = rows(out)
        self.assertIn(f"interrupted after {row['tokens']} of ", row["error"])
        self.assertGreater(row["perplexity"], 1)


class Screens(Eval):
    def test_a_bar_with_rate_and_time_left(self):
        screen = Terminal("eval", "perplexity", "-f", self.text(60), "--tokens", "20000", "--window",
                          "60", columns=90)
        screen.until("streaming 4+60 [")
        screen.until(" tokens/s  ")
        screen.until(" left")
        screen.send("\x03")
        self.assertEqual(screen.end(), 130)

    def test_a_text_that_comes_slowly(self):
        reading = Watched("eval", "perplexity", "--tokens", "20000", "--window", "60")
        for _ in range(12):
            reading.process.stdin.write(TEXT)
            reading.process.stdin.flush()
            time.sleep(0.1)
        reading.until("reading standard input  ")
        self.assertEqual(reading.end(signal.SIGINT), (130, b""))
        self.assertIn("standard input: interrupted", reading.text)


@unittest.skipUnless(shutil.which("gnuplot"), "gnuplot is not installed")
class Figures(Eval):
    def test_both_without_an_ending(self):
        rill("eval", "perplexity", "-f", self.text(), "--tokens", "60", *WAYS, "--figure",
             self.path("f"))
        with open(self.path("f.svg")) as file:
            drawn = file.read()
        for label in ("streaming 0+32", "streaming 4+28", "window 0+32", "dense"):
            self.assertIn(label, drawn)
        with open(self.path("f.png"), "rb") as file:
            self.assertEqual(file.read(4), b"\x89PNG")
        self.assertEqual(sorted(os.listdir(self.folder)), ["f.png", "f.svg", "text.txt"])


main()
