//! `mainstay subscribe`, `publish` and `request`: what one session can do, from the command line.

pub(crate) mod publish;
pub(crate) mod request;
pub(crate) mod subscribe;

mod link;
mod print;
