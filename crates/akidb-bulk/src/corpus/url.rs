//! What is elsewhere has a URL.

use std::path::Path;

/// Whether an argument begins with a scheme.
pub(super) fn is_url(argument: &str) -> bool {
    let scheme = argument.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| {
        !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// The URL that a path is.
pub(super) fn url_of(path: &Path) -> Option<&str> {
    path.to_str().filter(|path| is_url(path))
}

/// What a build without object stores says of one.
#[cfg(not(feature = "cloud"))]
pub(super) const NO_CLOUD: &str = "this build has no object stores: the feature `cloud` is off";
