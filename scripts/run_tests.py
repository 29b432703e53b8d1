#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the tests of a build directory and counts them; the last line is "N passed, M failed".

    scripts/run_tests.py BUILD [NAME ...] [--suite S] [--no-suite S] [--slower K] [--step NAME=COMMAND]

A program that uses cmocka or unittest counts as many tests as it runs, any other program as one; a
program that dies, or exits with a failure that none of its tests reported, counts as one more
failure. A step is a shell command that counts as one test. Skipped tests are named, and counted
apart.
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys
import time

# cmocka 1.1 reports each test twice: when it starts, and how it ended.
CMOCKA_LINE = re.compile(r"^\[\s*(RUN|OK|FAILED|SKIPPED|ERROR)\s*\]\s+(\S.*)$")
# Python's unittest, verbose: "test_that (__main__.Class.test_that) ... ok".
UNITTEST_LINE = re.compile(r"^(test_\w+) \(.*\) \.\.\. (?:.* )?(ok|FAIL|ERROR|skipped)\b")
TAIL_LINES = 60


class Tally:
    """What passed, failed (name and output) and was skipped."""

    def __init__(self):
        self.passed = 0
        self.failed = []
        self.skipped = []

    def add_program(self, name, result, output):
        """Counts a test program by the lines of its tests, if there are any, and by its exit."""
        failed_before = len(self.failed)
        passed = self.add_cmocka_tests(name, output) + self.add_unittest_tests(name, output)
        any_test = passed or len(self.failed) > failed_before
        if result == "SKIP":
            self.skipped.append(name)
        elif result in ("OK", "EXPECTEDFAIL"):
            self.passed += passed if any_test else 1
        else:
            self.passed += passed
            if len(self.failed) == failed_before:
                self.failed.append((f"{name}: {result.lower()}", output))

    def add_cmocka_tests(self, program, output):
        """Notes failed and skipped tests, and returns how many passed."""
        passed, running = 0, None
        for line in output.splitlines():
            match = CMOCKA_LINE.match(line)
            if not match:
                continue
            word, test = match.groups()
            if word == "RUN":
                running = test
            elif test == running:  # the summary at the end repeats names: those are not running
                running = None
                if word == "OK":
                    passed += 1
                elif word == "SKIPPED":
                    self.skipped.append(f"{program}: {test}")
                else:
                    self.failed.append((f"{program}: {test}", output))
        return passed

    def add_unittest_tests(self, program, output):
        """The same for the lines that Python's unittest writes."""
        passed = 0
        for match in filter(None, map(UNITTEST_LINE.match, output.splitlines())):
            test, word = match.groups()
            if word == "ok":
                passed += 1
            elif word == "skipped":
                self.skipped.append(f"{program}: {test}")
            else:
                self.failed.append((f"{program}: {test}", output))
        return passed

    def report(self):
        """Prints failures with the end of their output, the skipped, and the closing line."""
        shown = set()
        for name, output in self.failed:
            print(f"\nFAILED {name}")
            if output not in shown:
                shown.add(output)
                print("\n".join("    " + line for line in output.splitlines()[-TAIL_LINES:]))
        if self.skipped:
            print(f"\n{len(self.skipped)} skipped: " + ", ".join(self.skipped))
        print(f"{self.passed} passed, {len(self.failed)} failed", flush=True)


def run_step(step, tally):
    """Runs a NAME=COMMAND step and counts it."""
    name, _, command = step.partition("=")
    start = time.monotonic()
    done = subprocess.run(command, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace")
    print(f"{name}: {'failed' if done.returncode else 'ok'}, {time.monotonic() - start:.1f} s",
          flush=True)
    if done.returncode:
        tally.failed.append((name, done.stdout))
    else:
        tally.passed += 1


def run_meson(arguments, tally):
    """Runs `meson test` and counts what its log tells."""
    log = pathlib.Path(arguments.build, "meson-logs", "testlog.json")
    log.unlink(missing_ok=True)
    command = ["meson", "test", "-C", arguments.build, "--no-rebuild",
               "--timeout-multiplier", str(arguments.slower)]
    for suite in arguments.suite:
        command += ["--suite", suite]
    for suite in arguments.no_suite:
        command += ["--no-suite", suite]
    status = subprocess.run(command + arguments.names).returncode
    if not log.exists():
        tally.failed.append(("meson test: no test ran", f"exit status {status}"))
        return
    failed_before = len(tally.failed)
    with log.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            test = json.loads(line)
            # "rill:unit / ring": the last part is the name.
            name = test["name"].rsplit(" / ", 1)[-1]
            tally.add_program(name, test["result"],
                              test.get("stdout", "") + "\n" + test.get("stderr", ""))
    if status and len(tally.failed) == failed_before:
        tally.failed.append(("meson test", f"exit status {status}"))


def main():
    parser = argparse.ArgumentParser(description="run the tests of a build directory")
    parser.add_argument("build")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--suite", action="append", default=[])
    parser.add_argument("--no-suite", action="append", default=[])
    parser.add_argument("--slower", type=int, default=1, help="multiplies every time limit")
    parser.add_argument("--step", action="append", default=[], metavar="NAME=COMMAND")
    arguments = parser.parse_intermixed_args()

    tally = Tally()
    for step in arguments.step:
        run_step(step, tally)
    run_meson(arguments, tally)
    tally.report()
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main())
