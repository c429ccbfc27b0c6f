SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.PHONY: test check tools lint deny verify bench bench-cold instructions

# The features are the same everywhere: others would build everything anew.
TEST := cargo test --workspace --no-fail-fast --features end-to-end/external

# These mostly wait for programs that they build and start, or count instructions, of which a busy
# machine takes no more. So they run beside the others.
BESIDE := deployment:: amazon_ecr:: install:: instructions_

# Each runs for a number of seconds, so they run at the same time, and beside the others.
FUZZ := fuzz::

# Every test. What is printed is kept, for the summary at the end.
test: export HISTORIES = 500
test: export READS = 4000
test: export REPOSITORIES = 10000
test: export FUZZ_SECONDS = 20
test: tools
	$(TEST) --no-run
	status=0; \
	RUST_TEST_THREADS=16 $(TEST) --test external --test instructions -- $(BESIDE) > target/test-output-beside 2>&1 & \
	beside=$$!; \
	RUST_TEST_THREADS=16 $(TEST) --test quick -- $(FUZZ) > target/test-output-fuzz 2>&1 & \
	fuzz=$$!; \
	$(TEST) --lib --bins --test quick -- $(FUZZ:%=--skip %) 2>&1 \
		| tee target/test-output || status=$$?; \
	RUST_TEST_THREADS=4 $(TEST) --test external -- $(BESIDE:%=--skip %) 2>&1 \
		| tee -a target/test-output || status=$$?; \
	wait $$beside || status=$$?; \
	wait $$fuzz || status=$$?; \
	cat target/test-output-beside target/test-output-fuzz | tee -a target/test-output; \
	tests/summary target/test-output && exit $$status

# These fill items, replies and tables up to their limits, or try very many inputs; `check` leaves
# them to `test`.
LARGE := laws::sizes large_replies four_thousand_tags takes_long slow fuzz:: writers:: pushers \
	pending_lookups

# What a developer runs after a change: the tests that need no program from outside.
check: lint
	HISTORIES=20 RUST_TEST_THREADS=4 $(TEST) --lib --test quick -- $(LARGE:%=--skip %)

# The programs that the tests need, at pinned versions, in target/tools.
tools:
	tests/install-tools target/tools

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --features end-to-end/external -- -D warnings

# What the catalog takes, over what it would take at least, and beside others: docs/performance.md.
# `make bench ONLY=pages` measures one group of it.
bench:
	tests/install-tools target/tools bench
	cargo bench --workspace --features end-to-end/external --bench performance -- $(ONLY)

# The number of instructions that later changes are compared with.
instructions:
	WRITE_BASELINE=1 $(TEST) --test instructions

# The licences, the sources and the duplicates of the dependencies.
deny: tools
	target/tools/deny/bin/cargo-deny check licenses bans sources

# What a deployed catalog answers, compared with Amazon ECR: make verify ENDPOINT=https://…
verify:
	infra/verify.py $(ENDPOINT)

# How the function DescribeImages starts, beside a hello world: target/bench/cold-start.md. The
# share of a processor is set as root only.
bench-cold:
	cargo build --release -p describe-images -p hello-world
	cargo build --profile test --workspace --features end-to-end/external --bin cold-start
	target/debug/cold-start
