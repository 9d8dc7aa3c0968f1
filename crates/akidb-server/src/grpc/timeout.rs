//! The `grpc-timeout` header.

use std::time::Duration;

use axum::http::HeaderMap;

/// How long the client waits: up to eight digits and a unit.
///
/// <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>
pub(super) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let n: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(n * 3600),
        "M" => Duration::from_secs(n * 60),
        "S" => Duration::from_secs(n),
        "m" => Duration::from_millis(n),
        "u" => Duration::from_micros(n),
        "n" => Duration::from_nanos(n),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_units_are_read_and_nothing_else() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", value.parse().unwrap());
            timeout(&headers)
        };
        let second = Duration::from_secs(1);
        for value in ["1S", "1000m", "1000000u", "00000001S"] {
            assert_eq!(read(value), Some(second), "{value}");
        }
        assert_eq!(read("99999999H"), Some(second * 3600 * 99_999_999));
        assert_eq!(read("2M"), Some(second * 120));
        assert_eq!(read("5n"), Some(Duration::from_nanos(5)));
        for value in ["", "S", "1", "1s", "-1S", "123456789S", "1.5S", "1 S"] {
            assert_eq!(read(value), None, "{value:?}");
        }
    }
}
