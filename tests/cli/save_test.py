# SPDX-License-Identifier: MIT
"""Snapshots: a stream goes on in another process as if nothing had been; nothing loses the last."""
import json
import os
import random
import resource
import shutil
import time

from support import SMALL, Test, main, rill, start

WAYS = {
    "greedy": ["--temperature", "0"],
    "sampled": ["--temperature", "1", "--seed", "5", "--repetition-penalty", "1.1"],
}


def tokens(out):
    lines = [json.loads(line) for line in out.splitlines()]
    return [line["token"] for line in lines if line["event"] == "text" and line["token"] >= 0]


class Resume(Test):
    def compare(self, shape, way, points, total):
        shaping = ["-p", "It was late", *shape, *way]
        whole = tokens(rill("run", "--json", "-n", str(total), *shaping)[0])
        self.assertEqual(len(whole), total)
        for point in points:
            first = rill("run", "--json", "-n", str(point), "--save", self.path("s"), *shaping)[0]
            rest = rill("run", "--json", "-n", str(total - point), "--resume", self.path("s"))[0]
            self.assertEqual(tokens(first) + tokens(rest), whole, (shape, way, point))

    def test_at_several_points(self):
        for way in WAYS.values():
            self.compare(SMALL, way, (1, 20, random.randrange(30, 200)), 260)

    def test_every_type_of_cache(self):
        for kind in ("f32", "f16", "q8_0", "q8_0,f16"):
            self.compare([*SMALL, "--cache-type", kind], WAYS["sampled"], (70,), 110)

    def test_other_ways_of_seeing(self):
        for way in (["--attention", "window", "--window", "32"],
                    ["--attention", "dense"],
                    [*SMALL, "--evict", "message"]):
            self.compare(way, WAYS["greedy"], (45,), 70)

    def test_what_shapes_a_stream_is_refused(self):
        rill("run", "-n", "2", "--save", self.path("s"))
        self.refused(2, ["--window", "--resume"], "run", "--resume", self.path("s"), "--window",
                     "9")

    def test_damaged(self):
        rill("run", "-n", "2", "--save", self.path("s"), *SMALL)
        with open(self.path("s"), "rb") as file:
            good = file.read()
        for cut in (0, 1, 100, len(good) // 2, len(good) - 1):
            self.refused(1, ["cut"], "run", "-n", "1", "--resume", self.write("cut", good[:cut]))
        for _ in range(5):
            at = random.randrange(len(good))
            bad = good[:at] + bytes([good[at] ^ 4]) + good[at + 1 :]
            self.refused(1, ["flipped"], "run", "-n", "1", "--resume", self.write("flipped", bad))


class Save(Test):
    def test_places_that_cannot_be_written(self):
        self.refused(1, ["absent/s"], "run", "-n", "1", "--save", self.path("absent/s"))
        self.refused(1, ["directory"], "run", "-n", "1", "--save", self.folder)

    def test_nothing_else_is_written_over(self):
        # A model or a text whose name was given by mistake: the file stays, and before any work.
        model = self.path("m.gguf")
        shutil.copy(os.path.join(os.environ["RILL_MODEL"], "rill-30m.gguf"), model)
        text, other = self.write("t", b"It was late\n"), self.write("o", b"something else\n")
        for name, args in (("m.gguf", ["run", model, "-n", "1", "--save", model]),
                           ("m.gguf", ["logits", model, "--tokens", "1", "--out", model]),
                           ("t", ["run", "-f", text, "-n", "1", "--save", text]),
                           ("t", ["eval", "perplexity", "-f", text, "--tokens", "3", "--csv", text]),
                           ("o", ["run", "-n", "1", "--save", other])):
            with open(self.path(name), "rb") as file:
                before = file.read()
            self.refused(2, [name, "it stays as it is"], *args)
            with open(self.path(name), "rb") as file:
                self.assertEqual(file.read(), before)

    def test_a_full_disk(self):
        path = self.path("s")
        rill("run", "-n", "3", "--save", path, *SMALL)
        with open(path, "rb") as file:
            before = file.read()

        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))
            import signal

            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

        _, err = rill("run", "-n", "3", "--save", path, status=1, preexec_fn=limit)
        self.assertIn(path, err.splitlines()[-1])
        self.assertEqual(os.listdir(self.folder), ["s"])
        with open(path, "rb") as file:
            self.assertEqual(file.read(), before)
        rill("run", "-n", "1", "--resume", path)

    def test_killed_at_any_moment(self):
        path = self.path("s")
        args = ["run", "--resume", path, "-n", "1", "--save", path]
        rill("run", "-n", "3", "--save", path, *SMALL)
        began = time.monotonic()
        rill(*args)
        whole = time.monotonic() - began
        for i in range(30):
            process = start(*args)
            time.sleep(random.uniform(0.3, 1.1) * whole)
            process.kill()
            process.communicate()
        rill("run", "-n", "1", "--resume", path)


main()
