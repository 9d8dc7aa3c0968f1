//! How the values of settings are written.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;

use super::LogFormat;

/// A kind of value: read from text, shown as TOML.
pub(crate) trait Kind<T> {
    /// What help calls it.
    const VALUE: &'static str;
    fn read(text: &str) -> Result<T, String>;
    /// `None`: not set.
    fn show(value: &T) -> Option<toml::Value>;
}

fn text(value: impl ToString) -> Option<toml::Value> {
    Some(toml::Value::String(value.to_string()))
}

/// A whole number.
pub(crate) struct Count;

impl Kind<usize> for Count {
    const VALUE: &'static str = "N";

    fn read(text: &str) -> Result<usize, String> {
        let plain: String = text.chars().filter(|c| *c != '_').collect();
        plain
            .parse()
            .map_err(|_| format!("{text:?} is not a whole number"))
    }

    fn show(value: &usize) -> Option<toml::Value> {
        i64::try_from(*value).ok().map(toml::Value::Integer)
    }
}

/// A number of bytes.
pub(crate) struct Bytes;

fn read_bytes(text: &str) -> Result<u64, String> {
    let size: ByteSize = text
        .parse()
        .map_err(|_| format!("{text:?} is not a number of bytes, such as 32MiB"))?;
    Ok(size.as_u64())
}

fn show_bytes(value: u64) -> Option<toml::Value> {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units
        .into_iter()
        .find(|(shift, _)| value > 0 && value.trailing_zeros() >= *shift);
    match unit {
        Some((shift, unit)) => text(format!("{}{unit}", value >> shift)),
        None => i64::try_from(value).ok().map(toml::Value::Integer),
    }
}

impl Kind<usize> for Bytes {
    const VALUE: &'static str = "BYTES";

    fn read(text: &str) -> Result<usize, String> {
        usize::try_from(read_bytes(text)?).map_err(|_| format!("{text} is too much"))
    }

    fn show(value: &usize) -> Option<toml::Value> {
        show_bytes(*value as u64)
    }
}

/// A length of time; a bare number is seconds.
pub(crate) struct Time;

impl Kind<Duration> for Time {
    const VALUE: &'static str = "TIME";

    fn read(text: &str) -> Result<Duration, String> {
        let wrong = || format!("{text:?} is not a length of time, such as 30s or 500ms");
        if let Ok(seconds) = text.parse::<f64>() {
            return Duration::try_from_secs_f64(seconds).map_err(|_| wrong());
        }
        humantime::parse_duration(text).map_err(|_| wrong())
    }

    fn show(value: &Duration) -> Option<toml::Value> {
        text(
            humantime::format_duration(*value)
                .to_string()
                .replace(' ', ""),
        )
    }
}

/// A number of bytes, or nothing.
pub(crate) struct SomeBytes;

impl Kind<Option<u64>> for SomeBytes {
    const VALUE: &'static str = "BYTES";

    fn read(text: &str) -> Result<Option<u64>, String> {
        read_bytes(text).map(Some)
    }

    fn show(value: &Option<u64>) -> Option<toml::Value> {
        value.and_then(show_bytes)
    }
}

/// Yes or no.
pub(crate) struct Flag;

impl Kind<bool> for Flag {
    const VALUE: &'static str = "true|false";

    fn read(text: &str) -> Result<bool, String> {
        match text {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(format!("{text:?} is neither true nor false")),
        }
    }

    fn show(value: &bool) -> Option<toml::Value> {
        Some(toml::Value::Boolean(*value))
    }
}

/// A file, or nothing.
pub(crate) struct File;

impl Kind<Option<PathBuf>> for File {
    const VALUE: &'static str = "FILE";

    fn read(text: &str) -> Result<Option<PathBuf>, String> {
        Ok((!text.is_empty()).then(|| text.into()))
    }

    fn show(value: &Option<PathBuf>) -> Option<toml::Value> {
        text(value.as_ref()?.display())
    }
}

/// A URL, or nothing; what it says of users and passwords isn't shown.
pub(crate) struct Url;

impl Kind<Option<String>> for Url {
    const VALUE: &'static str = "URL";

    fn read(text: &str) -> Result<Option<String>, String> {
        if text.is_empty() {
            return Ok(None);
        }
        let uri: axum::http::Uri = text.parse().map_err(|_| format!("{text:?} is not a URL"))?;
        match uri.scheme_str() {
            Some("http" | "https") => Ok(Some(text.to_owned())),
            _ => Err(format!("{text:?} starts neither with http:// nor https://")),
        }
    }

    fn show(value: &Option<String>) -> Option<toml::Value> {
        let value = value.as_ref()?;
        let hidden = value.split_once("://").and_then(|(scheme, rest)| {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let (_, host) = authority.rsplit_once('@')?;
            Some(format!("{scheme}://…@{host}{path}"))
        });
        text(hidden.as_ref().unwrap_or(value))
    }
}

/// Several words, with commas between them.
pub(crate) struct List;

impl Kind<Vec<String>> for List {
    const VALUE: &'static str = "LIST";

    fn read(text: &str) -> Result<Vec<String>, String> {
        let words = text.split(',').map(str::trim);
        Ok(words
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect())
    }

    fn show(value: &Vec<String>) -> Option<toml::Value> {
        (!value.is_empty()).then(|| value.clone().into())
    }
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// One address.
    Address(IpAddr),
    /// All addresses of a name.
    Name(String),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// An address of this machine, or a name that has some.
pub(crate) struct Address;

impl Kind<Host> for Address {
    const VALUE: &'static str = "ADDRESS";

    fn read(text: &str) -> Result<Host, String> {
        if let Ok(address) = text.parse() {
            return Ok(Host::Address(address));
        }
        // RFC 1123, 2.1. What has no letter was meant as an address.
        let part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if text.bytes().all(part) && text.bytes().any(|byte| byte.is_ascii_alphabetic()) {
            return Ok(Host::Name(text.to_owned()));
        }
        Err(format!(
            "{text:?} is neither an IP address, such as 0.0.0.0, nor a name"
        ))
    }

    fn show(value: &Host) -> Option<toml::Value> {
        text(value)
    }
}

/// A TCP port.
pub(crate) struct Port;

impl Kind<u16> for Port {
    const VALUE: &'static str = "PORT";

    fn read(text: &str) -> Result<u16, String> {
        text.parse()
            .map_err(|_| format!("{text:?} is not a port: 0 to 65535"))
    }

    fn show(value: &u16) -> Option<toml::Value> {
        Some(toml::Value::Integer((*value).into()))
    }
}

/// How logs are written.
pub(crate) struct Format;

impl Kind<LogFormat> for Format {
    const VALUE: &'static str = "human|json";

    fn read(text: &str) -> Result<LogFormat, String> {
        match text {
            "human" => Ok(LogFormat::Human),
            "json" => Ok(LogFormat::Json),
            _ => Err(format!("{text:?} is neither human nor json")),
        }
    }

    fn show(value: &LogFormat) -> Option<toml::Value> {
        text(match value {
            LogFormat::Human => "human",
            LogFormat::Json => "json",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_read_again() {
        for value in [0, 1, 1000, 1024, 16 << 20, (3 << 30) + 1, 5 << 30] {
            let shown = <Bytes as Kind<usize>>::show(&value).unwrap();
            let text = shown
                .as_str()
                .map_or_else(|| shown.to_string(), str::to_owned);
            assert_eq!(<Bytes as Kind<usize>>::read(&text), Ok(value), "{text}");
        }
        for value in [0, 1, 1500, 60_000, 3_600_000, 86_461_001] {
            let value = Duration::from_millis(value);
            let shown = Time::show(&value).unwrap();
            assert_eq!(Time::read(shown.as_str().unwrap()), Ok(value), "{shown}");
        }
    }

    #[test]
    fn what_is_no_address_is_a_name() {
        for address in ["0.0.0.0", "::1", "127.0.0.1"] {
            assert_eq!(
                Address::read(address),
                Ok(Host::Address(address.parse().unwrap()))
            );
        }
        for name in ["localhost", "embed.example", "node-1"] {
            assert_eq!(Address::read(name), Ok(Host::Name(name.to_owned())));
        }
        for wrong in [
            "",
            "127.0.0",
            "a b",
            "http://host",
            "localhost:80",
            "[::1]",
            "é",
        ] {
            assert!(Address::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn bare_numbers_are_seconds() {
        assert_eq!(Time::read("90"), Ok(Duration::from_secs(90)));
        assert_eq!(Time::read("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(Time::read("1m30s"), Ok(Duration::from_secs(90)));
        for wrong in ["", "-1", "NaN", "inf", "1e300", "soon", "5 parsecs"] {
            assert!(Time::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_not_shown() {
        let url = Url::read("https://user:secret@host:4317/path").unwrap();
        let shown = Url::show(&url).unwrap().to_string();
        assert!(
            !shown.contains("secret") && shown.contains("host:4317/path"),
            "{shown}"
        );
        assert!(Url::read("ftp://host").is_err() && Url::read("host:4317").is_err());
    }
}
