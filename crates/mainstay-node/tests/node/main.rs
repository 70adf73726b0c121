//! The node, fed and watched. Each file is about one noun.

#![expect(clippy::expect_used, reason = "a test states its expectations with expect")]

mod world;

mod log;

mod hello;

mod requests;

mod full;

mod channels;

mod inbox;

mod presence;

mod commands;

mod accounts;

mod lists;

mod calls;

mod notes;

mod clock;

mod random;
