//! JSON files as people's editors write them.

use serde::Deserialize;

/// What some editors begin a file in UTF-8 with.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The bytes without a byte order mark.
pub fn without_byte_order_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
}

/// Parses JSON, which may begin with a byte order mark.
///
/// # Errors
/// When it isn't JSON, or not that of a `T`.
pub fn parse_json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> serde_json::Result<T> {
    serde_json::from_slice(without_byte_order_mark(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_is_ignored_once() {
        assert_eq!(parse_json::<u8>(b"\xef\xbb\xbf7").unwrap(), 7);
        assert_eq!(parse_json::<u8>(b"7").unwrap(), 7);
        assert!(parse_json::<u8>(b"\xef\xbb\xbf\xef\xbb\xbf7").is_err());
        assert!(parse_json::<u8>(b"\xff\xfe7\0").is_err());
    }
}
