//! The tree, checked.

#![expect(clippy::expect_used, reason = "a test states its expectations with expect")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// The crates that must run in a simulator, and what would keep them from it.
const CORE_CRATES: [&str; 5] =
    ["mainstay-wire", "mainstay-session", "mainstay-hub", "mainstay-log", "mainstay-node"];
const SERVER_REACHES: &[&str] = &[
    "mainstay-server",
    "mainstay-node",
    "mainstay-session",
    "mainstay-hub",
    "mainstay-log",
    "mainstay-wire",
];
const BANNED_IN_CORE: [&str; 6] = ["tokio", "mio", "socket2", "hyper", "async-std", "polling"];

#[test]
fn the_core_reaches_no_runtime_and_no_socket() {
    for core in CORE_CRATES {
        let reached = dependencies(core);
        assert!(reached.iter().any(|name| name == core), "cargo tree knows {core}");
        for banned in BANNED_IN_CORE {
            assert!(!reached.iter().any(|name| name == banned), "{core} reaches {banned}");
        }
    }
}

#[test]
fn arrows_between_our_crates_point_one_way() {
    for (from, to) in [
        ("mainstay-wire", &["mainstay-wire"][..]),
        ("mainstay-hub", &["mainstay-hub", "mainstay-wire"]),
        ("mainstay-log", &["mainstay-log", "mainstay-wire"]),
        ("mainstay-session", &["mainstay-session", "mainstay-wire"]),
        ("mainstay-client", &["mainstay-client", "mainstay-session", "mainstay-wire"]),
        (
            "mainstay-node",
            &["mainstay-node", "mainstay-hub", "mainstay-log", "mainstay-session", "mainstay-wire"],
        ),
        ("mainstay-server", SERVER_REACHES),
        ("mainstay-admin", &[&["mainstay-admin"], SERVER_REACHES].concat()),
        (
            "mainstay-testkit",
            &[
                "mainstay-testkit",
                "mainstay-node",
                "mainstay-session",
                "mainstay-hub",
                "mainstay-log",
                "mainstay-wire",
            ],
        ),
        ("mainstay-chaos", &["mainstay-chaos"]),
    ] {
        for name in dependencies(from) {
            let is_ours = name.starts_with("mainstay");
            assert!(!is_ours || to.contains(&name.as_str()), "{from} must not reach {name}");
        }
    }
}

#[test]
fn files_and_functions_are_short() {
    let mut long = Vec::new();
    let files = rust_files();
    assert!(files.len() > 40, "the search for sources finds them");
    for path in files {
        let text = fs::read_to_string(&path).expect("a readable file");
        let tree = syn::parse_file(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let mut lengths = Lengths { line_count: text.lines().count(), functions: Vec::new() };
        lengths.visit_file(&tree);
        if lengths.line_count > FILE_LINES_MAX {
            long.push(format!("{path:?} has {} lines", lengths.line_count));
        }
        for (name, length) in lengths.functions {
            if length > FUNCTION_LINES_MAX {
                long.push(format!("{path:?}: {name} has {length} lines"));
            }
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn a_long_function_would_be_found() {
    let text = format!("impl X {{ fn long() {{\n{} }} }}", "let a = 1;\n".repeat(80));
    let mut lengths = Lengths { line_count: 0, functions: Vec::new() };
    lengths.visit_file(&syn::parse_file(&text).expect("valid"));
    assert_eq!(lengths.functions, [("long".to_owned(), 82)]);
    let text = format!("#[cfg(test)] mod tests {{ {text} }}");
    let mut lengths = Lengths { line_count: 84, functions: Vec::new() };
    lengths.visit_file(&syn::parse_file(&text).expect("valid"));
    assert_eq!(lengths.functions, [], "tests are not counted");
}

/// Lengths in lines, those of tests left out.
struct Lengths {
    line_count: usize,
    functions: Vec<(String, usize)>,
}

impl Lengths {
    fn note(&mut self, name: &syn::Ident, body: Span) {
        self.functions.push((name.to_string(), line_count(body)));
    }
}

impl<'ast> Visit<'ast> for Lengths {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let is_test = item.attrs.iter().any(|attribute| {
            attribute.path().is_ident("cfg")
                && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
        });
        if is_test {
            self.line_count -= line_count(item.span());
        } else {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.note(&item.sig.ident, item.sig.span().join(item.block.span()).unwrap_or(item.span()));
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.note(&item.sig.ident, item.sig.span().join(item.block.span()).unwrap_or(item.span()));
        visit::visit_impl_item_fn(self, item);
    }
}

fn line_count(span: Span) -> usize {
    span.end().line - span.start().line + 1
}

/// Everything that a crate depends on when it is built, itself included.
fn dependencies(package: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .args(["--package", package])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).expect("text");
    names.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

/// All sources of our crates, their tests left out.
fn rust_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root().join("crates")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a readable folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && name != "tests" {
                folders.push(path);
            } else if name.ends_with(".rs") && name != "tests.rs" {
                files.push(path);
            }
        }
    }
    files
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("the crate lies in crates/").to_path_buf()
}

const FILE_LINES_MAX: usize = 1000;
const FUNCTION_LINES_MAX: usize = 70;
