//! The flags of the command line, made from the table of settings.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::kind::Notation;
use super::{CONFIG_VARIABLE, SETTINGS, Setting};

/// What the command line says of settings: texts, not yet read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arguments {
    /// `--config`.
    pub(crate) config: Option<PathBuf>,
    /// The flags that were given, by key.
    pub(crate) flags: BTreeMap<&'static str, String>,
}

impl clap::Args for Arguments {
    fn augment_args(command: Command) -> Command {
        let command = command.arg(
            Arg::new(CONFIG)
                .long(CONFIG)
                .short('c')
                .value_name("FILE")
                .value_parser(clap::value_parser!(PathBuf))
                .help(format!("TOML file with settings [env: {CONFIG_VARIABLE}]")),
        );
        // Flags this long leave no room for a second column that does not wrap.
        let command = command.next_line_help(true);
        SETTINGS.iter().fold(command, |command, setting| command.arg(flag(setting)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for Arguments {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let flags = SETTINGS
            .iter()
            .filter_map(|setting| {
                let texts: Vec<&str> =
                    matches.get_many::<String>(setting.key)?.map(String::as_str).collect();
                Some((setting.key, texts.join(",")))
            })
            .collect();
        Ok(Arguments { config: matches.get_one::<PathBuf>(CONFIG).cloned(), flags })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn flag(setting: &'static Setting) -> Arg {
    let default = if setting.default.is_empty() { "none" } else { setting.default };
    let range = setting.range.map(|(least, most)| format!(" [from {least} to {most}]"));
    let variable = setting.variable();
    let Setting { doc, reason, .. } = setting;
    let arg = Arg::new(setting.key)
        .long(setting.key.replace('_', "-"))
        .value_name(setting.shape.placeholder)
        .help_heading(setting.group)
        .help(format!("{doc} [default: {default}]"))
        .long_help(format!(
            "{doc}.\n{reason}\n[default: {default}]{} [env: {variable}]",
            range.unwrap_or_default()
        ));
    match setting.shape.notation {
        // `--compression` alone says yes.
        Notation::Boolean => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        Notation::Array => arg.action(ArgAction::Append),
        _ => arg,
    }
}

const CONFIG: &str = "config";
