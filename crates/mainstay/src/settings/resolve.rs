//! Which source wins, and whether what comes out makes sense.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::logging::escape;

use super::arguments::Arguments;
use super::kind::Kind;
use super::problem::Problem;
use super::relation::{CAUTIONS, RELATIONS};
use super::{CONFIG_VARIABLE, SETTINGS, Setting, Settings, VARIABLE_PREFIX, file, nearest};

/// The effective settings and how they came about.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// The settings.
    pub(crate) settings: Settings,
    /// One for each of [`SETTINGS`], in that order.
    pub(crate) entries: Vec<Entry>,
    /// Sentences about what is allowed but probably not meant.
    pub(crate) warnings: Vec<String>,
}

/// One effective value.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The setting.
    pub(crate) setting: &'static Setting,
    /// Its value as it would be written in a file, without quotes.
    pub(crate) text: String,
    /// Who gave it.
    pub(crate) origin: Origin,
}

/// Who gave a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody.
    Default,
    /// A line of the configuration file, from 1.
    File {
        /// The file as it was named.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// A variable of the environment.
    Environment(String),
    /// A flag of the command line.
    Flag(String),
}

/// The variables that may be settings, by name.
pub(crate) type Environment = BTreeMap<String, OsString>;

/// This process's variables that start with `MAINSTAY_`.
pub(crate) fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with(VARIABLE_PREFIX))
        .collect()
}

/// Decides every setting: a flag goes before the environment, that before the file, that before
/// the default. No file is read but the one named by `--config` or `MAINSTAY_CONFIG`.
///
/// # Errors
/// All that is wrong, in the order of the sources and settings; never empty.
pub(crate) fn resolve(
    arguments: &Arguments,
    environment: &Environment,
) -> Result<Resolved, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut given = Given::defaults();
    if let Some((path, origin)) = config_file(arguments, environment, &mut problems) {
        match file::read(&path) {
            Ok(contents) => {
                problems.extend(contents.problems);
                for (key, text, line) in contents.values {
                    given.set(key, text, Origin::File { path: path.clone(), line });
                }
            }
            Err(error) => problems.push(Problem::File { path, origin, error }),
        }
    }
    for setting in SETTINGS {
        let name = setting.variable();
        match environment.get(&name).map(|value| value.clone().into_string()) {
            Some(Ok(text)) => given.set(setting.key, text, Origin::Environment(name)),
            Some(Err(_)) => problems.push(Problem::Variable { name }),
            None => {}
        }
    }
    for (key, text) in &arguments.flags {
        if let Some(setting) = Setting::find(key) {
            given.set(setting.key, text.clone(), Origin::Flag(setting.flag()));
        }
    }
    let settings = match Settings::read(&given) {
        Ok(settings) => settings,
        Err(more) => {
            problems.extend(more);
            return Err(problems);
        }
    };
    problems.extend(broken_relations(&settings, &given));
    if !problems.is_empty() {
        return Err(problems);
    }
    let warnings = warnings(&settings, &given, environment);
    let entries = SETTINGS
        .iter()
        .zip(settings.texts())
        .map(|(setting, text)| Entry { setting, text, origin: given.origin(setting.key) })
        .collect();
    Ok(Resolved { settings, entries, warnings })
}

/// What the sources said, the strongest on top: text not yet read.
pub(crate) struct Given {
    values: BTreeMap<&'static str, (String, Origin)>,
}

impl Given {
    fn defaults() -> Given {
        let default = |setting: &'static Setting| {
            (setting.key, (setting.default.to_owned(), Origin::Default))
        };
        Given { values: SETTINGS.iter().map(default).collect() }
    }

    fn set(&mut self, key: &'static str, text: String, origin: Origin) {
        self.values.insert(key, (text, origin));
    }

    fn origin(&self, key: &str) -> Origin {
        self.values.get(key).map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    /// Reads one value as its kind and holds it against its range.
    pub(super) fn read<K: Kind>(&self, key: &str, problems: &mut Vec<Problem>) -> Option<K::Value> {
        let setting = Setting::find(key)?;
        let (text, origin) = self.values.get(key)?;
        match K::read(text).and_then(|value| within_range::<K>(setting, value)) {
            Ok(value) => Some(value),
            Err(complaint) => {
                let (text, origin) = (text.clone(), origin.clone());
                problems.push(Problem::Value { key: setting.key, text, origin, complaint });
                None
            }
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line } => {
                write!(f, "file {}, line {line}", escape::visible(&path.display().to_string()))
            }
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

fn config_file(
    arguments: &Arguments,
    environment: &Environment,
    problems: &mut Vec<Problem>,
) -> Option<(PathBuf, Origin)> {
    if let Some(path) = &arguments.config {
        return Some((path.clone(), Origin::Flag("--config".to_owned())));
    }
    let path = environment.get(CONFIG_VARIABLE)?;
    if path.is_empty() {
        problems.push(Problem::File {
            path: PathBuf::new(),
            origin: Origin::Environment(CONFIG_VARIABLE.to_owned()),
            error: std::io::Error::other("the variable is set and empty"),
        });
        return None;
    }
    Some((Path::new(path).to_owned(), Origin::Environment(CONFIG_VARIABLE.to_owned())))
}

fn within_range<K: Kind>(setting: &Setting, value: K::Value) -> Result<K::Value, String> {
    let (Some((least, most)), Some(magnitude)) = (setting.range, K::magnitude(&value)) else {
        return Ok(value);
    };
    let bound = |text| K::read(text).ok().and_then(|bound| K::magnitude(&bound));
    let in_range = bound(least).is_some_and(|least| least <= magnitude)
        && bound(most).is_some_and(|most| magnitude <= most);
    if in_range { Ok(value) } else { Err(format!("must be from {least} to {most}")) }
}

fn broken_relations(settings: &Settings, given: &Given) -> Vec<Problem> {
    let texts: BTreeMap<&str, String> =
        SETTINGS.iter().map(|setting| setting.key).zip(settings.texts()).collect();
    let side =
        |key: &&'static str| (*key, texts.get(key).cloned().unwrap_or_default(), given.origin(key));
    RELATIONS
        .iter()
        .filter(|relation| !(relation.holds)(settings))
        .map(|relation| Problem::Relation {
            sides: relation.keys.iter().map(side).collect(),
            rule: relation.rule,
            reason: relation.reason,
        })
        .collect()
}

fn warnings(settings: &Settings, given: &Given, environment: &Environment) -> Vec<String> {
    let cautions = CAUTIONS.iter().filter(|caution| (caution.applies)(settings)).map(|caution| {
        format!("{} ({}): {}", caution.key, given.origin(caution.key), caution.danger)
    });
    let names: Vec<String> = SETTINGS.iter().map(Setting::variable).collect();
    // Not an error: orchestrators put variables of their own under any service's name.
    let strangers = environment
        .keys()
        .filter(|name| *name != CONFIG_VARIABLE && !names.contains(name))
        .filter_map(|name| Some((name, nearest(name, names.iter().map(String::as_str))?)))
        .filter(|(name, near)| strsim::damerau_levenshtein(name, near) <= TYPING_ERRORS_MAX)
        .map(|(name, near)| {
            format!("environment {}: is no setting; did you mean {near}?", escape::visible(name))
        });
    cautions.chain(strangers).collect()
}

/// Letters a variable's name may be off and still be taken for a misspelt setting.
const TYPING_ERRORS_MAX: usize = 2;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::kind::Notation;
    use super::*;

    /// A configuration file that goes away with the value.
    struct ConfigFile(PathBuf);

    impl ConfigFile {
        fn new(text: &str) -> ConfigFile {
            static COUNT: AtomicUsize = AtomicUsize::new(0);
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("mainstay-settings-{}-{number}.toml", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::write(&path, text).unwrap();
            ConfigFile(path)
        }
    }

    impl Drop for ConfigFile {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn flags(flags: &[(&'static str, &str)]) -> Arguments {
        let flags = flags.iter().map(|(key, text)| (*key, (*text).to_owned())).collect();
        Arguments { config: None, flags }
    }

    fn variables(variables: &[(&str, &str)]) -> Environment {
        variables.iter().map(|(name, text)| ((*name).to_owned(), text.into())).collect()
    }

    fn from_file(text: &str) -> Result<Resolved, Vec<Problem>> {
        let file = ConfigFile::new(text);
        let arguments = Arguments { config: Some(file.0.clone()), ..Arguments::default() };
        resolve(&arguments, &Environment::new())
    }

    /// The problems, with the name of a temporary file made short.
    #[track_caller]
    fn problems(resolved: Result<Resolved, Vec<Problem>>) -> Vec<String> {
        let shorten = |text: String| match (text.find("(file "), text.find(".toml, ")) {
            (Some(start), Some(end)) => format!("{}(file x{}", &text[..start], &text[end..]),
            _ => text,
        };
        let problems = resolved.expect_err("these settings are wrong");
        problems.iter().map(|problem| shorten(problem.to_string())).collect()
    }

    #[track_caller]
    fn entry<'a>(resolved: &'a Resolved, key: &str) -> (&'a str, &'a Origin) {
        let entry = resolved.entries.iter().find(|entry| entry.setting.key == key).unwrap();
        (&entry.text, &entry.origin)
    }

    /// Three good values, each unlike the one before it and the first unlike the default.
    fn samples(setting: &Setting) -> [String; 3] {
        let near = |number: &str, unit: &str| {
            let number: u64 = number.parse().unwrap();
            [1, 2, 3].map(|more| format!("{}{unit}", number + more))
        };
        let texts = |texts: [&str; 3]| texts.map(str::to_owned);
        match setting.key {
            "address" => texts(["a:1", "b:2", "c:3"]),
            "admin_address" => texts(["127.0.0.1:1", "localhost:2", "none"]),
            "admin_token" => texts(["0123456789abcdef", "0123456789abcdeg", "0123456789abcdeh"]),
            "path" => texts(["/a", "/b", "/c"]),
            "www" => texts(["a", "b", "c"]),
            "dialect" => texts(["echo", "command", "echo"]),
            "shards" => texts(["1", "2", "3"]),
            "compression" => texts(["true", "false", "true"]),
            "origins" => texts(["https://a", "https://b,http://b", "https://c"]),
            "data_dir" => texts(["a", "b", "none"]),
            "handler" => texts(["exec:a b", "http://a/b", "none"]),
            "handler_retry" => texts(["never", "idempotent", "unsent"]),
            "principal_header" | "client_address_header" => texts(["X-User", "X-Who", "none"]),
            "log" => texts(["warn", "error", "debug"]),
            "log_format" => texts(["json", "human", "json"]),
            _ => match setting.shape.placeholder {
                "COUNT" => near(setting.default, ""),
                "BYTES" => {
                    let (number, unit) = setting.default.split_at(setting.default.len() - 3);
                    near(number, unit)
                }
                _ => {
                    let (number, unit) = setting.default.split_at(setting.default.len() - 1);
                    near(number, unit)
                }
            },
        }
    }

    fn in_toml(setting: &Setting, text: &str) -> String {
        let value = match setting.shape.notation {
            Notation::Integer | Notation::Boolean => text.to_owned(),
            Notation::Text | Notation::IntegerOrText => format!("\"{text}\""),
            Notation::Array => format!("[\"{}\"]", text.replace(',', "\", \"")),
        };
        format!("# A comment, so that the key stands on line 2.\n{} = {value}\n", setting.key)
    }

    #[test]
    fn defaults_are_good() {
        let resolved = resolve(&Arguments::default(), &Environment::new()).unwrap();
        assert!(resolved.warnings.is_empty(), "{:?}", resolved.warnings);
        for entry in &resolved.entries {
            assert_eq!(entry.text, entry.setting.default, "{}", entry.setting.key);
            assert_eq!(entry.origin, Origin::Default);
        }
    }

    #[test]
    fn flag_before_environment_before_file_before_default() {
        for setting in SETTINGS {
            let [in_file, in_environment, in_flag] = samples(setting);
            assert_ne!(in_file, setting.default, "{}", setting.key);
            let file = ConfigFile::new(&in_toml(setting, &in_file));
            let mut arguments = Arguments { config: Some(file.0.clone()), ..Arguments::default() };
            let mut environment = Environment::new();

            let resolved = resolve(&arguments, &environment).unwrap();
            let origin = Origin::File { path: file.0.clone(), line: 2 };
            assert_eq!(entry(&resolved, setting.key), (in_file.as_str(), &origin));

            environment.insert(setting.variable(), OsString::from(&in_environment));
            let resolved = resolve(&arguments, &environment).unwrap();
            let origin = Origin::Environment(setting.variable());
            assert_eq!(entry(&resolved, setting.key), (in_environment.as_str(), &origin));

            arguments.flags.insert(setting.key, in_flag.clone());
            let resolved = resolve(&arguments, &environment).unwrap();
            let origin = Origin::Flag(setting.flag());
            assert_eq!(entry(&resolved, setting.key), (in_flag.as_str(), &origin));
        }
    }

    #[test]
    fn a_bad_value_is_told_with_its_setting_and_its_source() {
        for setting in SETTINGS {
            let takes_anything = matches!(setting.shape.placeholder, "FOLDER" | "HEADER");
            let text = if takes_anything { "" } else { "?" };
            let (name, flag) = (setting.variable(), setting.flag());
            let start = |origin: &str| format!("{} = \"{text}\" ({origin})\n  ", setting.key);

            let told = problems(resolve(&flags(&[(setting.key, text)]), &Environment::new()));
            assert!(told[0].starts_with(&start(&format!("flag {flag}"))), "{told:?}");

            let told = problems(resolve(&Arguments::default(), &variables(&[(&name, text)])));
            assert!(told[0].starts_with(&start(&format!("environment {name}"))), "{told:?}");

            // A date is of no setting's type.
            let told = problems(from_file(&format!("\n\n{} = 1979-05-27", setting.key)));
            let expected =
                format!("{} = \"1979-05-27\" (file x.toml, line 3)\n  must be ", setting.key);
            assert!(told[0].starts_with(&expected), "{told:?}");
            assert_eq!(told.len(), 1, "{told:?}");
        }
    }

    #[test]
    fn quantities_have_a_least_and_a_most() {
        for setting in SETTINGS {
            let quantity = ["COUNT", "BYTES", "DURATION"].contains(&setting.shape.placeholder);
            assert_eq!(setting.range.is_some(), quantity, "{}", setting.key);
            let Some((least, most)) = setting.range else { continue };
            let above = match setting.shape.placeholder {
                "BYTES" => format!("{}GiB", 1 << 12),
                "DURATION" => "100000h".to_owned(),
                _ => "99999999999".to_owned(),
            };
            let below = match setting.shape.placeholder {
                "DURATION" if least == "0ms" => continue,
                "DURATION" => "0ms",
                _ => "0",
            };
            for text in [below, &above] {
                let told = problems(resolve(&flags(&[(setting.key, text)]), &Environment::new()));
                let expected = format!("\n  must be from {least} to {most}");
                assert!(told[0].ends_with(&expected), "{told:?}");
            }
            for text in [least, most] {
                // In range; another setting may still object.
                let arguments = flags(&[(setting.key, text)]);
                let refused = resolve(&arguments, &Environment::new()).err().unwrap_or_default();
                let value = |problem: &Problem| matches!(problem, Problem::Value { .. });
                assert!(!refused.iter().any(value), "{} = {text}: {refused:?}", setting.key);
            }
        }
    }

    #[test]
    fn relations_name_both_sides_and_where_they_came_from() {
        let environment = variables(&[("MAINSTAY_DRAIN_TIMEOUT", "9s")]);
        let told = problems(resolve(&flags(&[("drain_window", "6s")]), &environment));
        assert_eq!(
            told,
            ["drain_timeout = \"9s\" (environment MAINSTAY_DRAIN_TIMEOUT)\n       \
              drain_window = \"6s\" (flag --drain-window)\n       \
              close_timeout = \"5s\" (default)\n  \
              drain_timeout must be at least drain_window and close_timeout together: the last \
              connection told to go still gets its closing handshake"]
        );
        let told =
            problems(resolve(&flags(&[("admin_address", "0.0.0.0:8081")]), &Environment::new()));
        assert!(told[0].starts_with("admin_token = \"none\" (default)\n"), "{told:?}");
        // At the very edge they hold.
        assert!(resolve(&flags(&[("drain_window", "10s")]), &Environment::new()).is_ok());
    }

    #[test]
    fn an_unknown_key_is_told_with_its_line_and_the_nearest_key() {
        let told =
            problems(from_file("ping_interval = \"25s\"\npong_timout = \"5s\"\nzebra = 1\n"));
        assert_eq!(
            told,
            [
                "pong_timout (file x.toml, line 2)\n  is no setting; did you mean pong_timeout?",
                "zebra (file x.toml, line 3)\n  is no setting; `mainstay check-config` lists all",
            ]
        );
    }

    #[test]
    fn a_file_that_is_no_toml_is_told_with_its_line() {
        let told = problems(from_file("\npong_timeout = 5s\n"));
        assert!(told[0].starts_with("pong_timeout = 5s (file x.toml, line 2)\n"), "{told:?}");
        let told = problems(from_file("shards = 1\nshards = 2\n"));
        assert!(told[0].starts_with("shards = 2 (file x.toml, line 2)\n"), "{told:?}");
    }

    #[test]
    fn types_of_the_file_are_told_by_example() {
        let told = problems(from_file(
            "ping_interval = 25\nheader_count_max = \"64\"\norigins = \"https://a\"\n\
             compression = \"true\"\nmessage_bytes_max = true\n",
        ));
        let told: Vec<&str> = told.iter().filter_map(|told| told.split("\n  ").nth(1)).collect();
        assert_eq!(
            told,
            [
                "must be text in quotes, such as \"25s\"",
                "must be a number without quotes, such as 64",
                "must be an array, such as [\"https://app.example\"]",
                "must be true or false, without quotes",
                "must be a number, or text in quotes such as \"64KiB\"",
            ]
        );
        let resolved = from_file("message_bytes_max = 65_536\nshards = 0x2\n").unwrap();
        assert_eq!(resolved.settings.message_bytes_max, 65_536);
        assert_eq!(resolved.settings.shards, Some(2));
    }

    #[test]
    fn the_file_is_the_one_named_and_no_other() {
        let file = ConfigFile::new("shards = 3");
        let other = ConfigFile::new("shards = 4");
        let path = |file: &ConfigFile| file.0.to_str().unwrap().to_owned();
        let environment = variables(&[("MAINSTAY_CONFIG", &path(&file))]);
        let resolved = resolve(&Arguments::default(), &environment).unwrap();
        assert_eq!(resolved.settings.shards, Some(3));
        let arguments = Arguments { config: Some(other.0.clone()), ..Arguments::default() };
        assert_eq!(resolve(&arguments, &environment).unwrap().settings.shards, Some(4));

        let missing = variables(&[("MAINSTAY_CONFIG", "/nowhere/x.toml")]);
        let told = problems(resolve(&Arguments::default(), &missing));
        let start = "configuration file /nowhere/x.toml (environment MAINSTAY_CONFIG)\n  cannot";
        assert!(told[0].starts_with(start), "{told:?}");
        let told = problems(resolve(&Arguments::default(), &variables(&[("MAINSTAY_CONFIG", "")])));
        assert!(told[0].contains("set and empty"), "{told:?}");
    }

    #[test]
    fn a_file_without_end_is_refused() {
        let arguments = Arguments { config: Some("/dev/zero".into()), ..Arguments::default() };
        let told = problems(resolve(&arguments, &Environment::new()));
        assert!(told[0].contains("larger than 1024 KiB"), "{told:?}");
    }

    #[test]
    fn dangers_and_misspelt_variables_are_warned_of() {
        let environment = variables(&[
            ("MAINSTAY_PIGN_INTERVAL", "20s"),
            ("MAINSTAY_PORT", "tcp://10.0.0.1:80"),
            ("MAINSTAY_SERVICE_HOST", "10.0.0.1"),
        ]);
        let arguments = flags(&[("origins", "*"), ("ping_interval", "60s")]);
        let warnings = resolve(&arguments, &environment).unwrap().warnings;
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        assert!(warnings[0].starts_with("origins (flag --origins): DANGEROUS"), "{warnings:?}");
        assert!(warnings[1].starts_with("ping_interval (flag --ping-interval)"), "{warnings:?}");
        assert_eq!(
            warnings[2],
            "environment MAINSTAY_PIGN_INTERVAL: is no setting; did you mean \
             MAINSTAY_PING_INTERVAL?"
        );
    }

    #[test]
    fn what_is_told_holds_no_control_characters() {
        let file = ConfigFile::new("\"a\\u001b[31m\" = 1\nwww = \"\"\naddress = \"\\u009b\"\n");
        let arguments = Arguments { config: Some(file.0.clone()), ..Arguments::default() };
        let told =
            problems(resolve(&arguments, &variables(&[("MAINSTAY_LOG", "\u{1b}]0;x\u{7}")])));
        assert_eq!(told.len(), 4, "{told:?}");
        let raw = |c: char| c != '\n' && escape::is_unsafe(c);
        assert!(told.iter().all(|told| !told.contains(raw)), "{told:?}");
    }
}
