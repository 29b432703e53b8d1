# SPDX-License-Identifier: MIT
# The commands of rill's tree; Meson and ninja do the work. `make help` lists them.
#
#   make run ARGS="-n 200 -p 'Once upon a time'"     arguments for `rill run`
#   make test TESTS="tokenizer ring"                 only these test programs
#   make install PREFIX=/usr DESTDIR=/tmp/package

BUILD     ?= build
PREFIX    ?= /usr/local
DESTDIR   ?=
ARGS      ?= -p 'It was late when we reached the inn.' --repetition-penalty 1.1
TESTS     ?=
CLANG     ?= clang-14
CC_gcc     = gcc
CC_clang   = $(CLANG)
FORMATTER ?= clang-format-14
# Seconds for each fuzz target.
FUZZ_SECONDS ?= 60
# Warnings are errors where the tree is checked, and only warnings where it is merely used.
WERROR ?= $(if $(CI),true,false)

SANITIZED = -Db_lundef=false -Dwerror=$(WERROR) -Dc_args=-fno-sanitize-recover=all
RUN_TESTS = scripts/run_tests.py
# Every GPU's machine code takes its time: where the tree is checked one will do.
GPU_ARCH ?= $(if $(CI),90a)
CUDA      = $(if $(GPU_ARCH),-Dgpu_arch=$(GPU_ARCH))

# Running, testing and benching with one command at a time keeps their output whole.
.NOTPARALLEL:
.PHONY: all run test lint werror-gcc werror-clang asan tsan arm-test fuzz format bench gpu-test gpu-bench install clean help ready

all: ready  ## build the command, build/rill, and the library
	@ninja -C $(BUILD)
	@ln -sf src/cli/rill $(BUILD)/rill

run: all  ## write for ever with the shipped model (ARGS="-n 200 -p 'It was'")
	@$(BUILD)/rill run $(ARGS) || { status=$$?; [ $$status -eq 130 ] || exit $$status; }

test: all $(if $(CI),ready-lint)  ## run every test (TESTS="name ..." for some)
	@$(RUN_TESTS) $(BUILD) $(if $(CI),--step clang-warnings="$(MAKE) werror-clang") $(TESTS)

# Everything that reads the sources instead of running them, in both compilers' opinion.
lint: all ready-lint  ## check the sources: layers, names, comments, format, warnings
	@$(RUN_TESTS) $(BUILD) --suite lint --step gcc-warnings="$(MAKE) werror-gcc" \
	    --step clang-warnings="$(MAKE) werror-clang"

werror-gcc werror-clang: werror-%:
	@[ -f $(BUILD)-$@/build.ninja ] || CC=$(CC_$*) meson setup $(BUILD)-$@ -Dwerror=true -Dcuda=disabled >/dev/null
	@ninja -C $(BUILD)-$@ --quiet

asan: ready  ## run the tests under the address and undefined-behaviour sanitizers
	@[ -f $(BUILD)-asan/build.ninja ] || meson setup $(BUILD)-asan -Db_sanitize=address,undefined $(SANITIZED)
	@ninja -C $(BUILD)-asan
	@$(RUN_TESTS) $(BUILD)-asan --no-suite lint --slower 4 $(TESTS)

tsan: ready  ## run the tests under the thread sanitizer
	@[ -f $(BUILD)-tsan/build.ninja ] || meson setup $(BUILD)-tsan -Db_sanitize=thread $(SANITIZED)
	@ninja -C $(BUILD)-tsan
	@$(RUN_TESTS) $(BUILD)-tsan --no-suite lint --slower 10 $(TESTS)

arm-test:  ## build for 64-bit Arm, and run the kernel tests under qemu
	@scripts/arm.sh $(BUILD)-arm

fuzz: ready-fuzz  ## fuzz every parser, FUZZ_SECONDS=60 each
	@[ -f $(BUILD)-fuzz/build.ninja ] || CC=$(CLANG) meson setup $(BUILD)-fuzz -Dfuzz=true -Db_lundef=false
	@FUZZ_SECONDS=$(FUZZ_SECONDS) scripts/fuzz.sh $(BUILD)-fuzz

format: ready-lint  ## lay out every C file as .clang-format says
	@find include src tests fuzz bench -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' | xargs $(FORMATTER) -i

bench: all  ## measure kernels and tokens a second (minutes; wants a quiet machine)
	@scripts/bench.sh $(BUILD)

gpu-test: all  ## run the tests of the CUDA backend (skipped where no GPU is)
	@scripts/gpu.sh test $(BUILD)

gpu-bench: all  ## measure tokens a second on a GPU (skipped where none is)
	@scripts/gpu.sh bench $(BUILD)

install: all  ## install library, header, command, manual, model, completions (PREFIX, DESTDIR)
	@meson configure $(BUILD) -Dprefix=$(PREFIX)
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD) --quiet
	@[ -n "$(DESTDIR)" ] || /sbin/ldconfig 2>/dev/null || true

clean:  ## remove every build directory
	@rm -rf $(BUILD) $(BUILD)-werror-gcc $(BUILD)-werror-clang $(BUILD)-asan $(BUILD)-tsan $(BUILD)-arm $(BUILD)-fuzz

help:  ## list these commands
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 18

# What a build needs is installed if it is missing, and the build directory is configured once.
.PHONY: ready-lint ready-fuzz
ready:
	@scripts/bootstrap.sh build
	@[ -f $(BUILD)/build.ninja ] || meson setup $(BUILD) -Dprefix=$(PREFIX) -Dwerror=$(WERROR) $(CUDA)

ready-lint ready-fuzz: ready-%:
	@scripts/bootstrap.sh build $*
