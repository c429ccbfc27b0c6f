SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.PHONY: test tools lint

# Every test. What is printed is kept, for the summary at the end.
test: tools
	status=0; \
	HISTORIES=2000 cargo test --workspace --no-fail-fast --features end-to-end/external 2>&1 | tee target/test-output || status=$$?; \
	tests/summary target/test-output && exit $$status

# The programs that the tests need, at pinned versions, in target/tools.
tools:
	tests/install-tools target/tools

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --features end-to-end/external -- -D warnings
