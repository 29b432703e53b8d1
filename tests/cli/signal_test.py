# SPDX-License-Identifier: MIT
"""Ctrl-C: once ends with a summary, twice at once."""
import json
import signal
import time

from support import SMALL, Test, main, start


class Signals(Test):
    def finish(self, process):
        out, err = process.communicate(timeout=20)
        return process.returncode, out, err.decode()

    def test_once(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            process = start("run", *SMALL)
            process.stdout.read(50)
            process.send_signal(number)
            status, _, err = self.finish(process)
            self.assertEqual(status, 130)
            self.assertRegex(err, r"^rill: stopped \(interrupted\): \d+ tokens written")

    def test_once_saves(self):
        process = start("run", "--json", "--save", self.path("s"), *SMALL)
        process.stdout.read(200)
        process.send_signal(signal.SIGINT)
        status, out, _ = self.finish(process)
        self.assertEqual(status, 130)
        seen = json.loads(out.splitlines()[-1])["seen"]
        again = start("run", "--json", "--resume", self.path("s"), "-n", "1")
        status, out, _ = self.finish(again)
        self.assertEqual(status, 0)
        self.assertEqual(json.loads(out.splitlines()[-1])["seen"], seen + 1)

    def test_twice(self):
        process = start("run", *SMALL)
        process.stdout.read(50)
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(0.001)
        began = time.monotonic()
        self.assertEqual(self.finish(process)[0], 130)
        self.assertLess(time.monotonic() - began, 5)

    def test_while_waiting_for_input(self):
        process = start("run", "-", *SMALL)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        process.stdout.close()
        self.assertEqual(process.wait(20), 130)
        process.stdin.close()
        process.stderr.close()


main()
