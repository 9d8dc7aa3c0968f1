//! What tells this process from all others.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::process;

/// Digits of a token.
const TOKEN: usize = 16;

/// One of the processes that work in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    /// Random digits.
    pub(super) token: String,
    /// What tells its machine from others, and from itself after it was started again; nothing where
    /// that isn't known.
    pub(super) host: String,
    pub(super) pid: u32,
}

impl Process {
    /// This one, under a new token.
    pub(super) fn this() -> Self {
        Self {
            token: format!("{:016x}", random()),
            host: host(),
            pid: process::id(),
        }
    }

    /// What a claim says; of one length, so that it can be written over.
    pub(super) fn claim(&self, beats: u64) -> Vec<u8> {
        format!("{} {} {} {beats:020}\n", self.token, self.host, self.pid).into_bytes()
    }

    /// The token in a claim.
    pub(super) fn token_of(claim: &[u8]) -> Option<&str> {
        let token = str::from_utf8(claim.get(..TOKEN)?).ok()?;
        token
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit())
            .then_some(token)
    }

    /// Whether a claim is of this machine.
    pub(super) fn is_here(&self, claim: &[u8]) -> bool {
        let host = str::from_utf8(claim)
            .ok()
            .and_then(|claim| claim.split(' ').nth(1));
        !self.host.is_empty() && host == Some(&self.host)
    }
}

/// Another number each time: seeded by the system.
pub(super) fn random() -> u64 {
    RandomState::new().hash_one(process::id())
}

/// Linux numbers each start of a machine. Other systems have names, which two machines may share, so
/// locks aren't trusted there.
fn host() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let id = id.unwrap_or_default();
    id.chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .collect()
}
