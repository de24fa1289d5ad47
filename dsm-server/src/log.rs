//! Logs, written to standard error. What they say is decided where it is said: no secret, no body,
//! no header value.

use std::fmt;
use std::io::IsTerminal as _;
use std::panic;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("must be text or json"),
        }
    }
}

/// Which logs are written: a level, or levels per module as in `info,dsm_server=debug`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level(String);

impl Default for Level {
    /// `info`.
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Level {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match EnvFilter::try_new(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err("must be error, warn, info, debug, trace or a filter of tracing"),
        }
    }
}

/// Starts logging for the whole process, in colours on a terminal without `NO_COLOR`, and has panics logged by place alone: their message may
/// repeat what the program was working on.
///
/// A second call changes nothing.
pub fn init(format: LogFormat, level: &Level) {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&level.0))
        .with_ansi(std::io::stderr().is_terminal() && !plain)
        .with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    if started.is_ok() {
        panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string);
            tracing::error!(place = place.as_deref(), "panic");
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::Level;

    #[test]
    fn levels_and_filters_are_checked() {
        for text in ["info", "warn,dsm_server=debug", "off"] {
            assert_eq!(text.parse::<Level>().expect(text).to_string(), text);
        }
        assert!("=debug=".parse::<Level>().is_err());
    }
}
