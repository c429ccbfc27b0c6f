SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.PHONY: test tools lint

TEST := HISTORIES=2000 cargo test --workspace --no-fail-fast --features end-to-end/external
# These mostly wait for programs that they build and start; they run beside the others.
BESIDE := deployment ecr
NAMES := $(shell sed -n 's/^name = "\(.*\)"/\1/p' tests/Cargo.toml)
OTHERS := $(filter-out end-to-end $(BESIDE),$(NAMES))

# Every test. What is printed is kept, for the summary at the end.
test: tools
	$(TEST) --no-run
	status=0; \
	$(TEST) $(BESIDE:%=--test %) > target/test-output-beside 2>&1 & \
	$(TEST) --lib --bins $(OTHERS:%=--test %) 2>&1 | tee target/test-output || status=$$?; \
	wait $$! || status=$$?; \
	tee -a target/test-output < target/test-output-beside; \
	tests/summary target/test-output && exit $$status

# The programs that the tests need, at pinned versions, in target/tools.
tools:
	tests/install-tools target/tools

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --features end-to-end/external -- -D warnings
