# What CI does, step by step. `.ci/run` itself needs no `just`.

# Or a pattern such as '9.*' would be expanded once more on its way.
set positional-arguments

_default:
    @"{{ just_executable() }}" --list

# Everything that CI runs
ci:
    .ci/run

# The tests of all crates
test *arguments:
    cargo test --workspace "$@"

# Random lives of clients, network, server and disk (crates/mainstay-testkit)
simulate seeds="100000":
    SIM_SEEDS="$1" cargo test --release --package mainstay-testkit --test simulation -- --nocapture

# Break each guarantee on purpose and see that a test fails
prove-tests:
    tests/mutations/run

# Formatting and lints
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# The real program killed, cut and starved, `times` as often as CI does it (four is some minutes)
reliability times="4":
    MAINSTAY_RELIABILITY="$1" cargo test --package mainstay --test reliability -- --nocapture

# The release build, with the examples
build:
    cargo build --release --workspace --bins --examples

# The peers that others wrote: go, python, node, browser or all
interop *peer:
    tests/interop/run "$@"

# The Autobahn testsuite: server, client or both, such as `just conformance server --cases '9.*'`
conformance *arguments="both":
    tests/conformance/run "$@"

# The same work for servers that others wrote, side by side in one run (benches/peers/README.md)
peers *arguments:
    benches/peers/run "$@"

# Fan-out, publishing, resuming and idle sessions, on servers of its own
bench-sessions:
    cargo build --release --package mainstay
    benches/sessions

# Build, check and test the TypeScript client, the console and the demonstration
typescript:
    npm ci --no-audit --no-fund
    npm run build --workspace mainstay --workspace mainstay-console --workspace pull-the-plug
    npm run size --workspace mainstay
    npm run check --workspaces --if-present
    npm run lint --workspaces --if-present
    npm test --workspace mainstay --workspace mainstay-console --workspace pull-the-plug

# The TypeScript client against the real server, and the pages in Chromium, through faults
pages:
    cargo build --package mainstay
    npm run integration --workspace mainstay
    npm test --workspace browser-tests

# Pull the plug: a page that loses nothing (examples/pull-the-plug)
demo:
    npm install --no-audit --no-fund
    npm run demo

# Instructions of the hot paths against the accepted figures (benches/instructions); needs valgrind
instructions:
    benches/instructions/run

# Every fuzz target for so many seconds (fuzz/README.md)
fuzz seconds="60":
    #!/usr/bin/env bash
    set -euo pipefail
    if ! cargo +nightly fuzz --version; then
        echo 'needs: rustup toolchain install nightly && cargo install cargo-fuzz --locked' >&2
        exit 1
    fi
    for target in $(cargo +nightly fuzz list); do
        mkdir -p "fuzz/corpus/$target" "fuzz/seeds/$target"
        cargo +nightly fuzz run "$target" \
            "fuzz/corpus/$target" "fuzz/seeds/$target" \
            -- -max_total_time="$1" -timeout=10 -len_control=0 -print_final_stats=1 -verbosity=0
    done

# Licences, sources and layering of the dependencies (deny.toml)
deny:
    #!/usr/bin/env bash
    set -euo pipefail
    if ! cargo deny --version; then
        echo 'needs: cargo install cargo-deny --locked' >&2
        exit 1
    fi
    cargo deny check --hide-inclusion-graph bans licenses sources
