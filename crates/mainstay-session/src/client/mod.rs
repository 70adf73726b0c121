//! The client's half of a session.
