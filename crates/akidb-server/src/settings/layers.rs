//! Settings from the file, the environment and flags, one over the other.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::path::{Path, PathBuf};

use super::Settings;
use super::table::{SETTINGS, Setting, VARIABLES};

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The settings file.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// A flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => write!(f, "--{name}"),
        }
    }
}

/// Why settings can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// There is no such setting.
    #[error("{place}: there is no setting {name}{}", like(.nearest))]
    Unknown {
        /// Where it stands.
        place: String,
        /// Its name there.
        name: String,
        /// What may have been meant.
        nearest: Option<String>,
    },
    /// A value isn't one of the setting's.
    #[error("{place}: {name}: {message}")]
    Value {
        /// Where it stands.
        place: String,
        /// The setting.
        name: &'static str,
        /// What is wrong.
        message: String,
    },
    /// The settings file can't be read.
    #[error("the settings file {} can't be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The settings file isn't TOML.
    #[error("the settings file {} is not valid", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
}

fn like(nearest: &Option<String>) -> String {
    nearest
        .as_ref()
        .map_or_else(String::new, |name| format!(": is {name} meant?"))
}

/// Settings, and where each that isn't the default comes from.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// What they add up to so far.
    pub settings: Settings,
    origins: BTreeMap<&'static str, Origin>,
}

impl Layers {
    /// Puts a settings file over what is there; gives those of its keys that stand in `others`.
    ///
    /// # Errors
    /// When the file can't be read, or names what doesn't exist.
    pub fn file(&mut self, path: &Path, others: &[&str]) -> Result<toml::Table, SettingsError> {
        let text = std::fs::read_to_string(path).map_err(|source| SettingsError::Read {
            path: path.to_owned(),
            source,
        })?;
        let table: toml::Table = text.parse().map_err(|source| SettingsError::Toml {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        let origin = Origin::File(path.to_owned());
        let mut left = toml::Table::new();
        for (name, value) in table {
            if others.contains(&&*name) {
                left.insert(name, value);
                continue;
            }
            let Some(setting) = SETTINGS.iter().find(|setting| setting.name == name) else {
                let known = SETTINGS.iter().map(|setting| setting.name.to_owned());
                let known = known.chain(others.iter().map(|&name| name.to_owned()));
                return Err(unknown(&origin, name, known));
            };
            let value = plain(&value, setting.list).map_err(|message| SettingsError::Value {
                place: origin.to_string(),
                name: setting.name,
                message,
            })?;
            self.set(setting, &value, origin.clone())?;
        }
        Ok(left)
    }

    /// Puts environment variables over what is there; those that aren't the server's are passed
    /// over. An empty value counts as unset.
    ///
    /// # Errors
    /// When one has the server's prefix and isn't known, or its value is wrong.
    pub fn environment(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
        others: &[&str],
    ) -> Result<(), SettingsError> {
        for (name, value) in variables {
            if !name.starts_with(VARIABLES) || value.is_empty() || others.contains(&&*name) {
                continue;
            }
            let origin = Origin::Variable(name.clone());
            let Some(setting) = SETTINGS.iter().find(|setting| setting.variable() == name) else {
                let known = SETTINGS.iter().map(Setting::variable);
                let known = known.chain(others.iter().map(|&name| name.to_owned()));
                return Err(unknown(&"the environment", name, known));
            };
            self.set(setting, &value, origin)?;
        }
        Ok(())
    }

    /// Puts a flag over what is there; several values of a list have commas between them.
    ///
    /// # Errors
    /// When its value is wrong.
    pub fn flag(&mut self, setting: &'static Setting, value: &str) -> Result<(), SettingsError> {
        self.set(setting, value, Origin::Flag(setting.flag()))
    }

    fn set(
        &mut self,
        setting: &'static Setting,
        value: &str,
        origin: Origin,
    ) -> Result<(), SettingsError> {
        (setting.set)(&mut self.settings, value).map_err(|message| SettingsError::Value {
            place: origin.to_string(),
            name: setting.name,
            message,
        })?;
        self.origins.insert(setting.name, origin);
        Ok(())
    }

    /// A settings file of what they add up to, with where each value comes from. Settings that have
    /// no value stand in comments.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut part = "";
        for setting in SETTINGS {
            if setting.part != part {
                part = setting.part;
                let gap = if text.is_empty() { "" } else { "\n" };
                let _ = writeln!(text, "{gap}# {part}");
            }
            let origin = self.origins.get(setting.name);
            let origin = origin.map_or_else(|| "default".to_owned(), Origin::to_string);
            let _ = match setting.show(&self.settings) {
                Some(value) => writeln!(text, "{} = {value} # {origin}", setting.name),
                None => writeln!(text, "# {} = # {origin}", setting.name),
            };
        }
        text
    }
}

fn unknown(
    place: &impl ToString,
    name: String,
    known: impl Iterator<Item = String>,
) -> SettingsError {
    let distance = |other: &String| strsim::damerau_levenshtein(&name, other);
    let nearest = known
        .min_by_key(distance)
        .filter(|other| distance(other) <= name.len().max(3) / 3);
    SettingsError::Unknown {
        place: place.to_string(),
        nearest,
        name,
    }
}

/// A value of the file as a flag would have it.
fn plain(value: &toml::Value, list: bool) -> Result<String, String> {
    match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Integer(_) | toml::Value::Float(_) | toml::Value::Boolean(_) => {
            Ok(value.to_string())
        }
        toml::Value::Array(values) if list => {
            let texts = values.iter().map(|value| plain(value, false));
            Ok(texts.collect::<Result<Vec<_>, _>>()?.join(","))
        }
        _ => Err(format!("a {} is not possible here", value.type_str())),
    }
}

#[cfg(test)]
#[path = "layers_tests.rs"]
mod tests;
