//! The session dialect as `spec/` tells it to other languages: its golden vectors are what we write
//! and read, and its schema is what our Protobuf is of. `MAINSTAY_SPEC_WRITE=1` writes the vectors.

#![expect(clippy::expect_used, reason = "a test states its expectations with expect")]

mod conversations;
mod samples;
mod schema;
mod vectors;
