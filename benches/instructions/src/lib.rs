//! A package needs a library; the benchmarks are in `benches/instructions.rs`.
