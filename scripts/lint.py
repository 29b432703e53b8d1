#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks the sources without running them.   scripts/lint.py CHECK SOURCE_ROOT BUILD_ROOT

Each problem is one line, `file:line: what is wrong: what would be right`. Exit status: 0 clean, 1
problems, 77 a tool is missing (Meson reports that as skipped). `scripts/lint.py list` names the checks.
"""
import pathlib
import re
import shutil
import subprocess
import sys

# What the folders of src/ may include: themselves and what lies below. base < format, tokenizer;
# format < backend; format and tokenizer < model; all of these < engine < stream; the programs on top
# see the public header and base only.
LOWER = {
    "base": [],
    "format": ["base"],
    "tokenizer": ["base"],
    "backend": ["base", "format"],
    "model": ["base", "format", "tokenizer"],
    "engine": ["base", "backend", "model"],
    "stream": ["base", "format", "tokenizer", "backend", "model", "engine"],
    "eval": ["base"],
    "cli": ["base", "eval"],
}
LIBRARY = ["base", "format", "tokenizer", "backend", "model", "engine", "stream"]
CODE_FOLDERS = ["include", "src", "tests", "fuzz", "bench", "scripts", "training"]
SKIPPED_FOLDERS = {"node_modules", "__pycache__", "data", "corpus"}
FILE_LINES, FUNCTION_LINES = 500, 60
# What nvcc alone compiles.
CUDA_FOLDER = "src/backend/cuda"
# Bodies of code that each kernel tier includes after its own definitions: no headers by themselves.
TEMPLATES = ("src/backend/cpu/arm", "src/backend/cpu/simd", "src/backend/cpu/x86")

# name: (folders where it may not be called, what to use)
EVERYWHERE = LIBRARY + ["eval", "cli"]
BANNED = {
    **{name: (EVERYWHERE, "snprintf or src/base/buffer.h")
       for name in ("strcpy", "strcat", "strncpy", "strncat", "sprintf", "vsprintf", "gets")},
    **{name: (EVERYWHERE, "strtoull or strtod, its end and errno checked")
       for name in ("atoi", "atol", "atoll", "atof")},
    **{name: (EVERYWHERE, "a loop over the bytes") for name in ("strtok", "strtok_r")},
    **{name: (EVERYWHERE, "memory planned at open") for name in ("alloca",)},
    **{name: (EVERYWHERE, "a seeded generator") for name in ("rand", "srand", "random")},
    **{name: (EVERYWHERE, "rill__malloc, rill__free and their like of src/base/base.h")
       for name in ("malloc", "calloc", "realloc", "free", "strdup", "strndup", "aligned_alloc",
                    "posix_memalign", "asprintf", "vasprintf")},
    **{name: (LIBRARY, "a rill_status and a message: the library neither prints nor ends a process")
       for name in ("exit", "_exit", "_Exit", "abort", "printf", "vprintf", "puts", "putchar",
                    "perror", "setlocale", "signal", "sigaction")},
}
BANNED_STREAMS = {"stdout", "stderr"}
# The one file that stands on the process's allocator.
ALLOCATOR = "src/base/base.c"


class Tree:
    """The files of a source tree, relative to its root."""

    def __init__(self, root):
        self.root = pathlib.Path(root)

    def files(self, *suffixes, folders=CODE_FOLDERS):
        for folder in folders:
            for path in sorted((self.root / folder).rglob("*")):
                relative = path.relative_to(self.root)
                if path.suffix in suffixes and path.is_file() \
                        and not SKIPPED_FOLDERS.intersection(relative.parts):
                    yield relative

    def text(self, path):
        return (self.root / path).read_text(encoding="utf-8")


def without_comments(text, keep_strings=False):
    """C text with comments (and what stands in strings) blanked out; lines stay where they are."""
    def blank(match):
        found = match.group(0)
        if found[0] in "\"'":
            return found if keep_strings else found[0] + " " * (len(found) - 2) + found[-1]
        return re.sub(r"[^\n]", " ", found)
    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text,
                  flags=re.S)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def check_includes(tree, _build):
    """Includes go downwards only (CONTRIBUTING.md draws the layers)."""
    for path in tree.files(".c", ".h", ".cu", ".cuh", folders=["src"]):
        folder = path.parts[1]
        if folder not in LOWER:
            yield f"{path}:1: unknown folder src/{folder}: give it its place in scripts/lint.py"
            continue
        for number, line in enumerate(tree.text(path).splitlines(), 1):
            match = re.match(r'\s*#\s*include\s*"([^"/]+)/[^"]*"', line)
            if not match:
                if re.match(r'\s*#\s*include\s*"', line):
                    yield f"{path}:{number}: include without a folder: write \"folder/file.h\""
                continue
            target = match.group(1)
            if target not in ("rill", folder, *LOWER[folder]):
                allowed = ", ".join(["rill", folder, *LOWER[folder]])
                yield f"{path}:{number}: {folder} includes {target}: it may include {allowed}"


DECLARATION = re.compile(r"^(?!typedef\b|struct\b[^(]*\{|enum\b|union\b|#|\}|return\b)"
                         r"[A-Za-z_][\w\s\*]*?[\s\*](rill_\w+|[a-z]\w*)\s*\(")


def check_documented(tree, _build):
    """Every function that a header declares has a comment above it, or above its group."""
    for path in tree.files(".h", folders=["include", "src", "tests/support"]):
        if any(path.is_relative_to(folder) for folder in TEMPLATES):
            continue
        commented, inside = False, False
        for number, line in enumerate(tree.text(path).splitlines(), 1):
            if not line.strip() and not inside:
                commented = False
            elif line.lstrip().startswith(("//", "/*")):
                commented = True
            match = DECLARATION.match(line)
            if match and not inside and not commented and "//" not in line \
                    and not match.group(1).isupper():
                yield f"{path}:{number}: {match.group(1)} is not documented: say above it what it " \
                      "does, what may be NULL, what it returns and who owns it"
            code = line.split("//")[0].rstrip()
            if code.endswith("{") and not code.startswith("extern"):
                inside = True
            elif code.startswith("}"):
                inside = False


def check_banned(tree, _build):
    """Functions that overflow, print, end the process, or go round the allocator."""
    for path in tree.files(".c", ".h", folders=["src"]):
        folder = path.parts[1]
        text = without_comments(tree.text(path))
        for match in re.finditer(r"(?<![\w.>])(\w+)\s*\(", text):
            name = match.group(1)
            folders, instead = BANNED.get(name, ((), ""))
            if folder in folders and str(path) != ALLOCATOR:
                yield f"{path}:{line_of(text, match.start())}: {name}(): use {instead}"
        if folder in LIBRARY:
            for match in re.finditer(r"\b(\w+)\b", text):
                if match.group(1) in BANNED_STREAMS:
                    yield f"{path}:{line_of(text, match.start())}: {match.group(1)}: the library " \
                          "never prints: return a status and a message"


def check_symbols(_tree, build):
    """Every global of the static library begins with rill_."""
    archive = pathlib.Path(build, "src", "librill.a")
    if not archive.exists() or not shutil.which("nm"):
        raise FileNotFoundError(f"{archive} and nm are needed: build first")
    listing = subprocess.run(["nm", "--defined-only", "--extern-only", archive],
                             capture_output=True, text=True, check=True).stdout
    member = "?"
    for line in listing.splitlines():
        if line.endswith(":"):
            member = line[:-1]
        parts = line.split()
        if len(parts) == 3 and not parts[2].startswith("rill_"):
            yield f"{archive}({member}): global {parts[2]}: make it static or begin it with rill__"


def compile_headers(tree, compiler, dialect, folders):
    """One problem for each header that does not compile by itself."""
    for path in tree.files(".h", folders=folders):
        if any(path.is_relative_to(folder) for folder in (*TEMPLATES, CUDA_FOLDER)):
            continue
        command = [compiler, *dialect, "-fsyntax-only", "-Wall", "-Wextra", "-Werror",
                   "-D_GNU_SOURCE", "-Iinclude", "-Isrc", "-include", str(path), "/dev/null"]
        done = subprocess.run(command, cwd=tree.root, capture_output=True, text=True)
        if done.returncode:
            first = next((l for l in done.stderr.splitlines() if "error" in l), done.stderr.strip())
            yield f"{path}:1: does not compile alone ({' '.join(dialect)}): {first}"


def check_headers(tree, _build):
    """Each header compiles alone; the public ones with gcc and clang, as C99 and as C++ too."""
    compilers = [c for c in ("gcc", "clang-14", "clang") if shutil.which(c)][:2]
    if not compilers:
        raise FileNotFoundError("gcc or clang is needed")
    yield from compile_headers(tree, compilers[0], ["-std=gnu11", "-x", "c"], ["src"])
    for compiler in compilers:
        yield from compile_headers(tree, compiler, ["-std=c99", "-pedantic-errors", "-x", "c"],
                                   ["include"])
        # gcc without g++ knows no C++, clang does.
        if compiler != "gcc" or shutil.which("g++"):
            yield from compile_headers(tree, compiler, ["-std=c++11", "-x", "c++"], ["include"])


def check_sizes(tree, _build):
    """Files and functions that a reader can hold in mind."""
    for path in tree.files(".c", ".h", ".cu", ".cuh", ".py", ".sh", ".mjs"):
        lines = tree.text(path).splitlines()
        if len(lines) > FILE_LINES:
            yield f"{path}:{FILE_LINES}: {len(lines)} lines: cut it where a reader would, below " \
                  f"{FILE_LINES}"
        if path.suffix != ".c":
            continue
        start = None
        for number, line in enumerate(lines, 1):
            if line and line[0] not in " \t#}/*":
                start = number
            elif line.startswith("}") and start:
                is_table = "{" in lines[start - 1] and "(" not in lines[start - 1]
                length = number - start + 1
                if length > FUNCTION_LINES and not is_table:
                    yield f"{path}:{start}: a function of {length} lines: cut it below " \
                          f"{FUNCTION_LINES}"
                start = None


def check_format(tree, _build):
    """clang-format 14 would change nothing."""
    formatter = next((f for f in ("clang-format-14", "clang-format") if shutil.which(f)), None)
    if not formatter:
        raise FileNotFoundError("clang-format is needed: scripts/bootstrap.sh lint")
    files = [str(path) for path in tree.files(".c", ".h", ".cu", ".cuh")]
    done = subprocess.run([formatter, "--dry-run", "--ferror-limit=1", "-Werror", *files],
                          cwd=tree.root, capture_output=True, text=True)
    seen = set()
    for line in done.stderr.splitlines():
        match = re.match(r"([^:]+):(\d+):\d+: (?:error|warning):", line)
        if match and match.group(1) not in seen:
            seen.add(match.group(1))
            yield f"{match.group(1)}:{match.group(2)}: not as .clang-format says: run make format"
    if done.returncode and not seen:
        yield f"{formatter}: {done.stderr.strip()[:500]}"


def check_opening(tree, _build):
    """A file begins with its licence and with what it does; nothing is left to do later."""
    later = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
    for path in tree.files(".c", ".h", ".cu", ".cuh", ".py", ".sh", ".mjs"):
        lines = tree.text(path).splitlines() + ["", "", ""]
        first = 1 if lines[0].startswith("#!") else 0
        if "SPDX-License-Identifier: MIT" not in lines[first]:
            yield f"{path}:{first + 1}: no licence: begin with SPDX-License-Identifier: MIT"
        elif not lines[first + 1].startswith(("//", "#", '"""', "/*")):
            yield f"{path}:{first + 2}: no opening comment: say in a few lines what the file does"
        for number, line in enumerate(lines, 1):
            if later.search(line):
                yield f"{path}:{number}: a mark left behind: do it, or say the limit in plain words"


def check_links(tree, _build):
    """Relative links in the documentation lead somewhere."""
    pages = sorted(tree.root.glob("*.md"))
    for folder in ("docs", "training", "models", "scripts", "tests", "fuzz", "bench"):
        pages += sorted(p for p in (tree.root / folder).rglob("*.md") if "node_modules" not in p.parts)
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for match in re.finditer(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            target = match.group(1)
            if not re.match(r"[a-z]+:", target) and not (page.parent / target).exists():
                yield f"{page.relative_to(tree.root)}:{line_of(text, match.start())}: link to " \
                      f"{target}, which is not there"


CHECKS = {
    "includes": check_includes,
    "documented": check_documented,
    "banned": check_banned,
    "symbols": check_symbols,
    "headers": check_headers,
    "sizes": check_sizes,
    "format": check_format,
    "opening": check_opening,
    "links": check_links,
}


def main():
    if sys.argv[1:] == ["list"]:
        print("\n".join(f"{name}\t{check.__doc__}" for name, check in CHECKS.items()))
        return 0
    if len(sys.argv) != 4 or sys.argv[1] not in CHECKS:
        print(__doc__, file=sys.stderr)
        return 2
    name, root, build = sys.argv[1:]
    try:
        problems = list(CHECKS[name](Tree(root), build))
    except FileNotFoundError as missing:
        print(f"skipped: {missing}")
        return 77
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
