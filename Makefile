# Every target is one script under scripts/; what each does, and its steps, are told there and as it runs.
.POSIX:
.PHONY: help setup setup-test build run test test-firecracker test-cloud-image sim fuzz api-fuzz bench chaos powerloss kernel image-debian image-debian-cloud clean

help:
	@printf '%s\n' 'make run           set up what is missing, build, start hearth with a demo VM (Ctrl-C stops it)' \
	  'make test          everything that CI runs (some 12 GB of disk); the last line is: N passed, N failed, N skipped' \
	  'make test-firecracker  the VMM suite on a real Firecracker: here if guests boot on this KVM (minutes), else in a machine in software (an hour); root' \
	  'make test-cloud-image  Debian'"'"'s cloud image booted, configured by cloud-init and reached by ssh; made first if it is not there (root, minutes)' \
	  'make sim           whole nodes simulated from SEEDS (10000) seeds; a failing one prints the line that runs it again' \
  'make fuzz          every parser fuzzed for FUZZ_SECONDS (60) each, as CI does' \
	  'make api-fuzz      build, then every operation of the API held to its OpenAPI document' \
	  'make setup         packages, Rust targets, tools and first images, where missing' \
	  'make setup-test    the same, and what the tests need (a browser, schemathesis)' \
	  'make build         guest agent, web console and the binary target/release/hearth' \
	  'make bench         build, then run the benchmarks and print their tables' \
	  'make chaos         build, then kill -9 hearth ROUNDS (100) times under random load; SEED repeats the wishes of a run (root, minutes)' \
	  'make powerloss     lose power on purpose, some 60 times, and check that the journal has kept what it promised (root, minutes)' \
	  'make kernel        a guest kernel of our own (10 to 30 minutes once; VMs boot faster)' \
	  'make image-debian  a Debian 12 root file system' \
	  'make image-debian-cloud  the root file system of Debian 12'"'"'s cloud image, which cloud-init configures' \
	  'make clean         remove what was built (not ./data, not the caches in ~/.cache/hearth)'

setup:
	@scripts/setup.sh

setup-test:
	@scripts/setup.sh test

build: setup
	@scripts/build.sh

run: build
	@scripts/run.sh

test:
	@scripts/test.sh

test-firecracker:
	@scripts/test-firecracker.sh

test-cloud-image:
	@scripts/test-cloud-image.sh

sim:
	@SEEDS=$(SEEDS) FROM=$(FROM) scripts/sim.sh

fuzz:
	@scripts/fuzz.sh

api-fuzz: setup-test build
	@scripts/api-fuzz.sh

bench: build
	@scripts/bench.sh

chaos: build
	@ROUNDS=$(ROUNDS) SEED=$(SEED) scripts/chaos.sh

powerloss:
	@scripts/powerloss.sh

kernel:
	@scripts/images/hearth-kernel.sh

image-debian:
	@scripts/images/debian.sh

image-debian-cloud:
	@scripts/images/debian-cloud.sh

clean:
	@scripts/clean.sh
