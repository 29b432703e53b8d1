#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Films a command in a terminal and writes the film as an SVG that needs no script.

    scripts/capture_svg.py OUT.svg SECONDS COMMAND [SHOWN_AS]

tmux runs the command in a window of its own and is looked at eight times a second; after SECONDS the
command gets a Ctrl-C, and the last picture stays for a while. SHOWN_AS is the line after the prompt.
"""
import html
import pathlib
import re
import subprocess
import sys
import time

COLUMNS, ROWS = 88, 22
FRAMES_A_SECOND, LAST_SECONDS = 8, 5
CELL_WIDTH, CELL_HEIGHT, MARGIN = 8.4, 18, 14
# SGR numbers that the command may use, as what they look like.
STYLES = {"1": "b", "2": "d", "31": "r", "32": "g", "33": "y", "36": "c"}
CSS = """
text { font: 14px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #d8dee6;
       white-space: pre; }
.b { font-weight: bold } .d { fill: #8b98a8 } .r { fill: #e88388 } .g { fill: #a8cc8c }
.y { fill: #dbab79 } .c { fill: #66c2cd }
#film { animation: film %.3fs step-end infinite }
@media (prefers-reduced-motion: reduce) { #film { animation: none } }
@keyframes film { %s }
"""


class Terminal:
    """A tmux server of our own with one window."""

    def __init__(self):
        self.socket = f"capture-{time.monotonic_ns()}"
        shell = "PS1='$ ' exec bash --norc --noprofile"
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS), shell)

    def tmux(self, *arguments):
        return subprocess.run(["tmux", "-L", self.socket, *arguments], check=True,
                              capture_output=True, text=True).stdout

    def type(self, text, *keys):
        self.tmux("send-keys", "-l", text)
        if keys:
            self.tmux("send-keys", *keys)

    def look(self):
        """The lines on the screen, with their SGR sequences."""
        lines = self.tmux("capture-pane", "-e", "-p").split("\n")
        return (lines + [""] * ROWS)[:ROWS]

    def close(self):
        self.tmux("kill-server")


def film(command, shown, seconds):
    """What is on the screen, as (seconds it stays, lines)."""
    terminal = Terminal()
    try:
        time.sleep(0.5)
        # A function, so that the line on the screen can be what a reader would type.
        name = shown.split()[0]
        terminal.type(f"{name}() {{ {command}; }}; clear", "Enter")
        time.sleep(0.5)
        terminal.type(shown)
        time.sleep(0.3)
        frames = [(1.0, terminal.look())]
        terminal.tmux("send-keys", "Enter")
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            time.sleep(1 / FRAMES_A_SECOND)
            frames.append((1 / FRAMES_A_SECOND, terminal.look()))
        terminal.tmux("send-keys", "C-c")
        time.sleep(1)
        frames.append((LAST_SECONDS, terminal.look()))
        return frames
    finally:
        terminal.close()


def line_svg(line):
    """A line with SGR sequences as tspans."""
    out, style = [], ""
    for part in re.split(r"(\x1b\[[0-9;]*m)", line.rstrip()):
        if part.startswith("\x1b"):
            for number in part[2:-1].split(";"):
                style = STYLES.get(number, "" if number in ("", "0", "22", "39") else style)
        elif part:
            text = html.escape(part)
            out.append(f'<tspan class="{style}">{text}</tspan>' if style else text)
    return "".join(out)


def write_svg(path, frames):
    """Frames stand one below the other; an animation moves the strip past the window."""
    width = COLUMNS * CELL_WIDTH + 2 * MARGIN
    height = ROWS * CELL_HEIGHT + 2 * MARGIN
    total = sum(seconds for seconds, _ in frames)
    numbers, strip, keys, at = {}, [], [], 0.0
    for i, (seconds, lines) in enumerate(frames):
        keys.append(f"{100 * at / total:.3f}% {{ transform: translateY(-{i * height}px) }}")
        at += seconds
        for row, line in enumerate(lines):
            svg = line_svg(line)
            if svg:
                number = numbers.setdefault(svg, len(numbers))
                y = i * height + MARGIN + (row + 0.75) * CELL_HEIGHT
                strip.append(f'<use href="#l{number}" y="{y:g}"/>')
    css = CSS % (total, " ".join(keys))
    texts = "\n".join(f'<text id="l{n}" x="{MARGIN}" xml:space="preserve">{svg}</text>'
                      for svg, n in numbers.items())
    # Where nothing moves, the last picture is seen.
    last = f"translate(0 -{(len(frames) - 1) * height:g})"
    pathlib.Path(path).write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}">\n<style>{css}</style>\n'
        f'<rect width="100%" height="100%" rx="8" fill="#14181d"/>\n<defs>\n{texts}\n</defs>\n'
        f'<g id="film" transform="{last}">\n{"".join(strip)}\n</g>\n</svg>\n', encoding="utf-8")


def main():
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    out, seconds, command = sys.argv[1], float(sys.argv[2]), sys.argv[3]
    frames = film(command, sys.argv[4] if len(sys.argv) == 5 else command, seconds)
    write_svg(out, frames)
    print(f"{out}: {len(frames)} frames")


if __name__ == "__main__":
    main()
