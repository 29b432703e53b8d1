# SPDX-License-Identifier: MIT
"""Help, and command lines that cannot be meant."""
import os

from support import GOLDEN, SMALL, Test, main, rill

COMMANDS = ["run", "chat", "info", "eval", "bench", "tokenize", "logits", "convert"]


class Help(Test):
    def test_every_command_has_a_page_that_fits_a_screen(self):
        overview, err = rill("--help")
        self.assertEqual(err, "")
        for command in COMMANDS:
            self.assertIn(f"  {command} ".encode(), overview)
            page, err = rill(command, "--help")
            self.assertEqual(err, "")
            self.assertTrue(page.startswith(f"Usage: rill {command} ".encode()))
            self.assertEqual(page, rill("help", command)[0])
            self.assertLess(max(map(len, page.splitlines())), 100)

    def test_version(self):
        self.assertRegex(rill("--version")[0], rb"^rill \d+\.\d+\.\d+\n$")

    def test_nothing_at_all_is_wrong_usage(self):
        out, err = rill(status=2)
        self.assertEqual(out, b"")
        self.assertIn("rill run", err)


class Device(Test):
    """A GPU that has room for nothing: tests/support/fake_cuda.c."""

    def on(self, *device, status=0):
        environment = dict(os.environ, RILL_CUDA_LIBRARY=os.environ["RILL_FAKE_CUDA"])
        return rill("run", "--prompt", "One", "-n", "1", *device, status=status, env=environment)

    def test_a_model_that_does_not_fit_goes_to_the_cpu(self):
        for device in [], ["--device", "auto"]:
            _, err = self.on(*device)
            self.assertIn("cuda:0: no room; the CPU computes instead", err)

    def test_unless_the_gpu_was_asked_for(self):
        _, err = self.on("--device", "cuda", status=1)
        self.assertIn("rill: cuda:0: no room", err)


class Wrong(Test):
    def test_words(self):
        self.refused(2, ["did you mean rill run"], "rnu")
        self.refused(2, ["no such command"], "frobnicate")
        self.refused(2, ["did you mean --window?"], "run", "--wnidow", "5")
        self.refused(2, ["no such option"], "run", "--frobnicate")
        self.refused(2, ["no such option"], "info", "--prompt", "x")
        self.refused(2, ["one word too many"], "run", "a", "b")
        self.refused(2, ["wants a value"], "run", "--window")
        self.refused(2, ["takes no value"], "run", "--json=1")
        self.refused(2, ["perplexity"], "eval")
        self.refused(2, ["no such evaluation"], "eval", "pleasure")
        self.refused(2, ["TARGET"], "convert", "a")
        self.refused(2, ["--tokens"], "logits", "--out", self.path("x"))
        self.refused(2, ["--save: ''", "name of a file"], "run", "--save", "", "-n", "1")

    def test_numbers(self):
        for option in ("--window", "--threads", "--max-tokens", "--chunk"):
            for value in ("0", "-1", "1e3x", "", "99999999999999999999", "0x10", " 5"):
                self.refused(2, [option, "wants"], "run", option, value)
        for value in ("-1", "x", "4294967296"):
            self.refused(2, ["--sinks", "wants"], "run", "--sinks", value)
        for value in ("nan", "inf", "1e39", "x"):
            self.refused(2, ["--temperature", "wants a number"], "run", "--temperature", value)
        self.refused(2, ["--seed"], "run", "--seed", "-1")
        for value in ("-1", "x", "on", "4294967295"):
            self.refused(2, ["--draft", "wants a whole number, off or auto"], "run", "--draft", value)

    def test_ranges_are_the_librarys(self):
        for option, bad, good in (
            ("--temperature", "-1", "0"),
            ("--temperature", "101", "100"),
            ("--top-p", "1e-10", "1e-8"),
            ("--top-p", "1.01", "1"),
            ("--min-p", "1.01", "1"),
            ("--repetition-penalty", "0", "1000"),
            ("--presence-penalty", "-1001", "-1000"),
            ("--frequency-penalty", "1001", "1000"),
            ("--penalty-window", "65537", "65536"),
            ("--chunk", "65537", "65536"),
            ("--sink-cap", "0", "1"),
            ("--sink-scale", "-1", "0"),
            ("--threads", "1025", "1"),
            ("--draft", "16", "15"),
        ):
            self.refused(2, [f"rill: {option}: ", "right"], "run", "-n", "1", option, bad)
            rill("run", "-n", "1", *SMALL, option, good)
        self.refused(2, ["rill: --sinks: "], "run", "-n", "1", "--sinks", "4294967294")
        self.refused(2, ["rill: --position: "], "logits", GOLDEN, "--tokens", "1", "--position",
                     "9000000000000000000", "--out", self.path("out"))

    def test_choices(self):
        self.refused(2, ["streaming|window|dense|recompute"], "run", "--attention", "full")
        self.refused(2, ["f32, f16, bf16, q8_0 or q4_0"], "run", "--cache-type", "q3", "-n", "1")
        self.refused(2, ["ref|"], "run", "--cpu", "mmx", "-n", "1")
        self.refused(2, ["cpu"], "run", "--device", "abacus", "-n", "1")
        self.refused(1, ["device: cuda: RILL_CUDA_LIBRARY: ", "librill-cuda.so is right"],
                     "run", "--device", "cuda:1", "-n", "1")

    def test_contradictions(self):
        self.refused(2, ["--prompt"], "run", "-p", "a", "-f", "b")
        self.refused(2, ["--sinks"], "run", "--attention", "window", "--sinks", "4", "-n", "1")
        self.refused(2, ["--tokens"], "logits", "x", "--tokens", "1", "--tokens-file", "y",
                     "--out", "z")
        self.refused(2, ["--shape"], "info", "--shape", "cube")
        self.refused(2, ["layers"], "info", "--shape", "layers=0,hidden=768,heads=12")
        self.refused(2, ["kv=5 does not divide"], "info", "--shape",
                     "layers=2,hidden=768,heads=12,kv=5")

    def test_dense_past_the_context_names_what_allows_it(self):
        self.refused(2, ["rill: --window: ", "allow it with --over-context\n"], "run", "-n", "1",
                     "--attention", "dense", "--window", "2000")

    def test_more_than_the_model_was_trained_on_warns(self):
        err = rill("run", "-n", "1", "--window", "1020")[1]
        self.assertIn("warning: --window: the model sees 1024 tokens", err)
        self.assertIn("at most --window 508", err)
        err = rill("run", "-n", "1", "--sinks", "512", "--window", "8")[1]
        self.assertIn("warning: --sinks: 512 leave no room", err)


main()
