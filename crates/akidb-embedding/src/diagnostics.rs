//! What this machine has, for those who look for a reason.

use std::error::Error;
use std::path::PathBuf;

use akidb_kernels::Isa;

use crate::backend::forced_isa;
use crate::env;
use crate::error::EmbedError;
use crate::model::all;

/// CPU tiers that this machine can run, slower before faster.
pub fn cpu_tiers() -> Vec<&'static str> {
    Isa::available().map(|isa| isa.tier().as_str()).collect()
}

/// The CPU tier that the native engine uses.
///
/// # Errors
/// When the environment names one that is unknown or that this CPU lacks.
pub fn cpu_tier() -> Result<&'static str, EmbedError> {
    let isa = forced_isa()?.unwrap_or_else(Isa::detect);
    Ok(isa.tier().as_str())
}

/// An error and its causes in one line.
pub fn chain(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message.push_str(": ");
        message.push_str(&error.to_string());
        cause = error.source();
    }
    message
}

/// A model for which its name is enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownModel {
    /// Its name.
    pub id: String,
    /// Its directory; the built-in model's name for that.
    pub directory: String,
}

/// The built-in model, then those that are installed.
///
/// # Errors
/// When the directory of models can't be read.
pub fn models() -> Result<Vec<KnownModel>, EmbedError> {
    let models = all()?.into_iter().map(|files| KnownModel {
        directory: files.directory(),
        id: files.id,
    });
    Ok(models.collect())
}

/// Where packed weights are kept; `None` when they are not.
pub fn packed_weights_directory() -> Option<PathBuf> {
    env::packed_weights_directory()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chosen_tier_is_one_of_them() {
        let tiers = cpu_tiers();
        assert_eq!(tiers[0], "portable");
        assert!(tiers.contains(&cpu_tier().unwrap()));
    }

    #[cfg(feature = "builtin")]
    #[test]
    fn the_built_in_model_is_first() {
        assert_eq!(models().unwrap()[0].id, crate::BUILTIN_MODEL);
    }
}
