//! Has the crate compiled anew when the console has been built or thrown away.

use std::path::Path;

fn main() {
    // A path that is missing would have the crate compiled each time. The console's folder changes when
    // `dist` comes into it.
    let console = Path::new("../../console");
    let dist = console.join("dist");
    let watched = [dist.as_path(), console, Path::new("build.rs")];
    if let Some(watched) = watched.into_iter().find(|path| path.exists()) {
        println!("cargo::rerun-if-changed={}", watched.display());
    }
}
