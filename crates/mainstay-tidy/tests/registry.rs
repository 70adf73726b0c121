//! What is made from `spec/codes.toml`: tables in Rust and in PROTOCOL.md. With
//! `MAINSTAY_TIDY_WRITE=1` they are written instead of compared. This crate does not depend on the
//! code that it writes.

#![expect(clippy::expect_used, reason = "a test states its expectations with expect")]

use std::path::{Path, PathBuf};
use std::{env, fs};

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Registry {
    end: Vec<End>,
    error: Vec<Error>,
    gap: Vec<Gap>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    word: String,
    code: Option<u16>,
    client: Client,
    text: String,
}

/// What a client does.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Client {
    Resume,
    StartFresh,
    Stop,
    None,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Error {
    word: String,
    #[serde(default)]
    retry: bool,
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Gap {
    word: String,
    text: String,
}

#[test]
fn words_are_unique() {
    let registry = registry();
    let check = |mut words: Vec<&str>| {
        for word in &words {
            let is_plain = word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            assert!(is_plain && !word.is_empty(), "{word:?}");
        }
        let count = words.len();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), count, "a word stands twice among {words:?}");
    };
    check(registry.end.iter().map(|end| end.word.as_str()).collect());
    check(registry.error.iter().map(|error| error.word.as_str()).collect());
    check(registry.gap.iter().map(|gap| gap.word.as_str()).collect());
    let ours = registry.end.iter().filter_map(|end| end.code).filter(|code| *code >= 4000);
    let mut ours: Vec<u16> = ours.collect();
    let count = ours.len();
    ours.sort_unstable();
    ours.dedup();
    assert_eq!(ours.len(), count, "a code of ours stands twice");
}

#[test]
fn the_code_has_every_end() {
    let mut table = format!("//! Every end of a connection. {GENERATED}\n\nuse super::Advice;\n\n");
    table += "end_reasons! {\n";
    for End { word, code, client, text } in registry().end {
        let variant = variant(&word);
        let code = code.map_or("None".to_owned(), |code| format!("Some({code})"));
        let advice = match client {
            Client::Resume => "Resume",
            Client::StartFresh => "StartFresh",
            Client::Stop => "Stop",
            Client::None => "None",
        };
        table += &format!("    {variant}, {word:?}, {code}, {advice},\n        {text:?};\n");
    }
    table += "}\n";
    check_file("crates/mainstay-wire/src/end/table.rs", &table);
}

#[test]
fn the_code_has_every_word() {
    let registry = registry();
    let mut table = format!("//! Every word of a failure and of a gap. {GENERATED}\n\nwords! {{\n");
    table += "    /// Why a request failed or a frame could not be acted on.\n    ErrorCode {\n";
    for Error { word, text, .. } in &registry.error {
        table += &format!("        {}, {word:?}, {text:?};\n", variant(word));
    }
    table += "    }\n}\n\nretryable! {\n";
    for error in registry.error.iter().filter(|error| error.retry) {
        table += &format!("    {};\n", variant(&error.word));
    }
    table += "}\n\nwords! {\n    /// Why events cannot be delivered.\n    GapReason {\n";
    for Gap { word, text } in &registry.gap {
        table += &format!("        {}, {word:?}, {text:?};\n", variant(word));
    }
    table += "    }\n}\n";
    check_file("crates/mainstay-wire/src/session/code/table.rs", &table);
}

#[test]
fn the_protocol_lists_every_word() {
    let registry = registry();
    let mut ends = String::from("| reason | code | a client | |\n|---|---|---|---|\n");
    for End { word, code, client, text } in &registry.end {
        let code = code.map_or("–".to_owned(), |code| code.to_string());
        let client = match client {
            Client::Resume => "resumes",
            Client::StartFresh => "starts fresh",
            Client::Stop => "stops",
            Client::None => "–",
        };
        ends += &format!("| `{word}` | {code} | {client} | {text} |\n");
    }
    let mut errors = String::from("| word | may be tried again | |\n|---|---|---|\n");
    for Error { word, retry, text } in &registry.error {
        let retry = if *retry { "yes" } else { "" };
        errors += &format!("| `{word}` | {retry} | {text} |\n");
    }
    let mut gaps = String::from("| word | |\n|---|---|\n");
    for Gap { word, text } in &registry.gap {
        gaps += &format!("| `{word}` | {text} |\n");
    }
    check_parts("PROTOCOL.md", &[("ends", ends), ("errors", errors), ("gaps", gaps)]);
}

fn registry() -> Registry {
    let text = fs::read_to_string(root().join("spec/codes.toml")).expect("a readable file");
    toml::from_str(&text).unwrap_or_else(|error| panic!("spec/codes.toml: {error}"))
}

/// `never_ran` as `NeverRan`.
fn variant(word: &str) -> String {
    let capital = |part: &str| part[..1].to_uppercase() + &part[1..];
    word.split('_').map(capital).collect()
}

fn check_file(file: &str, expected: &str) {
    let path = root().join(file);
    if env::var_os("MAINSTAY_TIDY_WRITE").is_some() {
        fs::write(&path, expected).expect("written");
    } else {
        let actual = fs::read_to_string(&path).expect("a readable file");
        assert_eq!(actual, expected, "{file} is out of date: set MAINSTAY_TIDY_WRITE=1");
    }
}

/// Compares what stands between `<!-- name -->` and `<!-- /name -->`.
fn check_parts(file: &str, parts: &[(&str, String)]) {
    let mut text = fs::read_to_string(root().join(file)).expect("a readable file");
    for (name, expected) in parts {
        let (open, close) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
        let (before, rest) = text.split_once(&open).expect("the part begins");
        let (_, after) = rest.split_once(&close).expect("the part ends");
        text = [before, &open, expected, &close, after].concat();
    }
    check_file(file, &text);
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("the crate lies in crates/").to_path_buf()
}

const GENERATED: &str = "Made from `spec/codes.toml` by the tests of mainstay-tidy.";
