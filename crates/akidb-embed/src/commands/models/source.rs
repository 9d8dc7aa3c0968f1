//! The hub and the machine, as the environment describes them.

use akidb_embedding::env;
use akidb_embedding::files::read_regular_file;
use akidb_models::{Hub, HubOptions, Machine, PUBLIC_ENDPOINT, Token};

use crate::error::CliError;

/// Most bytes of the file with a token.
const MAX_TOKEN: u64 = 64 << 10;

/// The hub that models come from.
pub(super) fn hub() -> Result<Hub, CliError> {
    let saved = || {
        let path = env::token_file()?;
        let token = read_regular_file(&path, MAX_TOKEN).ok()?;
        String::from_utf8(token).ok()
    };
    let token = env::HF_TOKEN.get().or_else(saved);
    let token = token.filter(|token| !token.trim().is_empty());
    let offline = env::HF_HUB_OFFLINE.get().unwrap_or_default();
    let endpoint = env::HF_ENDPOINT.get();
    Ok(Hub::new(HubOptions {
        endpoint: endpoint.unwrap_or_else(|| PUBLIC_ENDPOINT.to_owned()),
        token: token.as_deref().map(Token::new),
        // The values that the Hugging Face tools take.
        offline: ["1", "ON", "YES", "TRUE"].contains(&offline.to_uppercase().as_str()),
        ..HubOptions::default()
    })?)
}

/// What this machine is good at.
pub(super) fn machine() -> Machine {
    Machine {
        coreml: cfg!(all(target_os = "macos", target_arch = "aarch64")),
        bf16: akidb_embedding::has_bf16(),
    }
}
