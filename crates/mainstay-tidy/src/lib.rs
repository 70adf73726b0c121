//! Checks of the tree itself: which way dependencies point, how long files and functions are, and
//! whether documents say what the code says. All of it is in this crate's tests.
