//! Every environment variable the project reads, declared once.
//!
//! An empty value counts as unset.

use std::path::PathBuf;

/// One environment variable.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub doc: &'static str,
}

/// Directory of installed models and caches.
pub const AKIDB_HOME: Variable = Variable {
    name: "AKIDB_HOME",
    doc: "Directory that holds installed models, under models/ \
          (default: $XDG_DATA_HOME/akidb or ~/.local/share/akidb)",
};

/// Forces a CPU tier.
pub const AKIDB_ISA: Variable = Variable {
    name: "AKIDB_ISA",
    doc: "CPU tier of the native engine: portable, avx2, avxvnni, avx512, avx512vnni or neon \
          (default: the best this CPU has)",
};

/// How much is logged.
pub const AKIDB_LOG: Variable = Variable {
    name: "AKIDB_LOG",
    doc: "Log level on stderr: off, error, warn, info, debug or trace (default: warn)",
};

/// Where AKIDB_HOME is unset.
pub const XDG_DATA_HOME: Variable = Variable {
    name: "XDG_DATA_HOME",
    doc: "Base of the default AKIDB_HOME",
};

/// Where both are unset.
pub const HOME: Variable = Variable {
    name: "HOME",
    doc: "Base of the default XDG_DATA_HOME",
};

/// All of them.
pub const ALL: &[Variable] = &[AKIDB_HOME, AKIDB_ISA, AKIDB_LOG, XDG_DATA_HOME, HOME];

impl Variable {
    /// Its value, if set, not empty and valid Unicode.
    pub fn get(&self) -> Option<String> {
        std::env::var(self.name).ok().filter(|v| !v.is_empty())
    }

    /// Its value as a path, if set and not empty.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        let value = std::env::var_os(self.name)?;
        (!value.is_empty()).then(|| value.into())
    }
}
