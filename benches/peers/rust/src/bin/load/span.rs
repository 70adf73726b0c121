//! The time over which a server is measured.

use clap::Args;

#[derive(Args)]
pub struct Span {
    /// How long to measure
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
    /// How long to run before measuring
    #[arg(long, default_value_t = 1.0)]
    pub warmup_seconds: f64,
    /// Process of the server, whose CPU time is to be measured
    #[arg(long)]
    pub pid: Option<u32>,
}
