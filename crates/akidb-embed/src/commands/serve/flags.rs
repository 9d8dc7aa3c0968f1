//! The server's settings as flags.

use akidb_server::{SETTINGS, Setting, Settings};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

/// The settings that were given as flags, with their values.
#[derive(Debug, Default)]
pub(crate) struct SettingFlags(pub(crate) Vec<(&'static Setting, String)>);

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0 = SETTINGS
            .iter()
            .filter_map(|setting| {
                let values = matches.get_many::<String>(setting.name)?;
                let values: Vec<&str> = values.map(String::as_str).collect();
                Some((setting, values.join(",")))
            })
            .collect();
        Ok(())
    }
}

impl Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        let defaults = Settings::default();
        SETTINGS.iter().fold(command, |command, setting| {
            let default = setting.show(&defaults).map_or_else(String::new, |value| {
                let value = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                format!("default: {value}; ")
            });
            let variable = setting.variable();
            let action = if setting.list {
                ArgAction::Append
            } else {
                ArgAction::Set
            };
            let arg = Arg::new(setting.name)
                .long(setting.flag())
                .value_name(setting.value)
                .help(format!("{} [{default}env: {variable}]", setting.doc))
                .help_heading(setting.part)
                .action(action);
            // A flag that is named alone is set.
            command.arg(match setting.value {
                "true|false" => arg.num_args(0..=1).default_missing_value("true"),
                _ => arg,
            })
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
