# SPDX-License-Identifier: MIT
"""What goes to standard output, what to standard error, and why a run stopped."""
import json
import subprocess

from support import SMALL, Terminal, Test, main, rill, rows, start

GREEDY = ["run", "-p", "Once there was", "--temperature", "0"]


class Product(Test):
    def test_text_alone(self):
        out, err = rill(*GREEDY, "-n", "20")
        self.assertNotIn(b"\033", out)
        self.assertNotIn("\033", err)
        self.assertNotIn(b"rill:", out)
        self.assertRegex(err, r"^rill: stopped \(length\): 20 tokens written, .*\n$")

    def test_lines_for_machines(self):
        text = rill(*GREEDY, "-n", "20")[0]
        out, err = rill(*GREEDY, "-n", "20", "--json")
        self.assertEqual(err, "")
        lines = [json.loads(line) for line in out.splitlines()]
        pieces = [line for line in lines if line["event"] == "text"]
        self.assertEqual("".join(line["text"] for line in pieces), text.decode())
        self.assertEqual(sum(line["token"] >= 0 for line in pieces), 20)
        self.assertEqual(lines[-1]["event"], "summary")
        self.assertEqual(lines[-1]["stop"], "length")
        self.assertEqual(lines[-1]["written"], 20)

    def test_streams_that_fit_on_a_device(self):
        out = rill("info", "--device", "cpu")[0].decode()
        self.assertIn("free, with this model there", out)
        self.assertRegex(out, r"tokens +f16 +q8_0 +q4_0\n +256( +[\d,]+){3}\n +512( +[\d,]+){3}\n$")
        (found,) = rows(rill("info", "--device", "cpu", "--json")[0])
        kinds = ("f16", "q8_0", "q4_0")
        self.assertEqual([(row["capacity"], row["cache_type"]) for row in found["fits"]],
                         [(capacity, kind) for capacity in (256, 512) for kind in kinds])
        counts = [row["streams"] for row in found["fits"]]
        self.assertEqual(counts[:3], sorted(counts[:3]))
        self.assertTrue(all(small > large for small, large in zip(counts[:3], counts[3:])))
        for window, capacities in ((96, [100, 256]), (252, [256]), (1020, [256, 1024])):
            (asked,) = rows(rill("info", "--device", "cpu", "--json", "--sinks", "4", "--window",
                                 str(window))[0])
            self.assertEqual([row["capacity"] for row in asked["fits"]][::3], capacities)
        self.assertTrue(0 < found["memory_available_bytes"] <= found["memory_bytes"])
        for row in found["fits"]:
            self.assertTrue(row["streams"] * row["stream_bytes"] <=
                            found["memory_available_bytes"])
        self.assertNotIn("fits", rows(rill("info", "--json")[0])[0])

    def test_equal_seeds_equal_text(self):
        args = ["run", "-n", "40", "--temperature", "1", *SMALL]
        first = rill(*args, "--seed", "7")[0]
        self.assertEqual(rill(*args, "--seed", "7", "--threads", "1")[0], first)
        self.assertEqual(rill(*args, "--seed", "7", "--chunk", "3")[0], first)
        self.assertNotEqual(rill(*args, "--seed", "8")[0], first)

    def test_guesses_change_nothing_but_their_count(self):
        args = ["run", "-p", "one two three " * 20, "-n", "60", "--temperature", "0.3", *SMALL]
        text = rill(*args, "--draft", "off")[0]
        for draft in ("0", "1", "8", "auto"):
            self.assertEqual(rill(*args, "--draft", draft)[0], text)
        off, some = (json.loads(rill(*args, "--draft", draft, "--json")[0].splitlines()[-1])
                     for draft in ("off", "8"))
        self.assertEqual((off["drafted"], off["accepted"]), (0, 0))
        self.assertGreaterEqual(some["drafted"], some["accepted"])
        self.assertGreater(some["accepted"], 0)

    def test_marks_of_a_chat_are_no_text(self):
        # <|im_start|> is made the likeliest of all.
        mark = rill("tokenize", stdin=b"<|im_start|>")[0].split()[0].decode()
        out = rill(*GREEDY, "-n", "5", "--logit-bias", f"{mark}=1000", "--json")[0]
        lines = [json.loads(line) for line in out.splitlines()]
        self.assertEqual([line["token"] for line in lines[:5]], [int(mark)] * 5)
        self.assertEqual("".join(line["text"] for line in lines[:-1]), "")

    def test_an_end_is_a_blank_line_or_the_end(self):
        end = rill("tokenize", stdin=b"<|im_end|>")[0].split()[0].decode()
        bias = ["--logit-bias", f"{end}=1000"]
        self.assertEqual(rill(*GREEDY, "-n", "2", *bias)[0], b"\n\n\n\n")
        out, err = rill(*GREEDY, "-n", "2", "--until-end", *bias)
        self.assertEqual(out, b"")
        self.assertIn("stopped (end)", err)


class Stops(Test):
    def test_at_a_text(self):
        whole = rill(*GREEDY, "-n", "30")[0].decode()
        stop = whole[20:26]
        out, err = rill(*GREEDY, "-n", "30", "--stop", "never written", "--stop", stop)
        self.assertEqual(out.decode(), whole[: whole.index(stop)])
        self.assertRegex(err, r"stopped \(stop[a-z ]*\)|stopped \(string\)")

    def test_dense_is_full(self):
        out, err = rill("run", "--attention", "dense", "--window", "40", "--temperature", "0",
                        status=1)
        self.assertTrue(out)
        self.assertIn("stopped (memory)", err)
        self.assertIn("streaming never does", err)


class Pipes(Test):
    def test_closed(self):
        process = start("run", *SMALL)
        head = process.stdout.read(100)
        process.stdout.close()
        self.assertEqual(len(head), 100)
        self.assertEqual(process.stderr.read(), b"")
        self.assertEqual(process.wait(20), 0)
        process.stdin.close()
        process.stderr.close()

    def test_full(self):
        with open("/dev/full", "wb") as full:
            for args in (["run", "-n", "5"], ["info"], ["--help"], ["run", "--help"]):
                process = subprocess.run([start.__globals__["RILL"], *args], stdout=full,
                                         stderr=subprocess.PIPE, timeout=30, check=False)
                self.assertEqual(process.returncode, 1, args)
                self.assertIn(b"No space left", process.stderr)


class Screens(Test):
    def test_a_status_line_of_its_own_row(self):
        for columns in (80, 40):
            screen = Terminal("run", *SMALL, columns=columns)
            screen.until("writing: ")
            screen.send("\x03")
            self.assertEqual(screen.end(), 130)
            self.assertIn("\033[r", screen.text)  # all rows scroll again
            self.assertIn("rill: stopped (interrupted)", screen.text)

    def test_none_where_a_terminal_understands_nothing(self):
        screen = Terminal("run", "-n", "20", environment={"TERM": "dumb"})
        self.assertEqual(screen.end(), 0)
        self.assertNotIn("\033", screen.text)


main()
