//! Half surrogates: what is left where a text was cut within a character.

use std::borrow::Cow;

/// JSON in which each `\uD800` to `\uDFFF` that has no other half stands for U+FFFD, as Go's and
/// browsers' decoders take it.
pub(super) fn mended(json: &[u8]) -> Cow<'_, [u8]> {
    let mut json = Cow::Borrowed(json);
    let mut at = 0;
    while let Some(found) = json
        .get(at..)
        .and_then(|rest| rest.iter().position(|b| *b == b'\\'))
    {
        at += found;
        let Some(unit) = escape(&json, at) else {
            // Another escape; what it escapes may be a backslash.
            at += 2;
            continue;
        };
        let next = escape(&json, at + 6);
        let whole = HIGH.contains(&unit) && next.is_some_and(|next| LOW.contains(&next));
        if !whole && (HIGH.contains(&unit) || LOW.contains(&unit)) {
            let digits = json.to_mut().get_mut(at + 2..at + 6);
            if let Some(digits) = digits {
                digits.copy_from_slice(b"fffd");
            }
        }
        at += if whole { 12 } else { 6 };
    }
    json
}

const HIGH: std::ops::RangeInclusive<u16> = 0xd800..=0xdbff;
const LOW: std::ops::RangeInclusive<u16> = 0xdc00..=0xdfff;

/// The code unit whose escape stands at a place.
fn escape(json: &[u8], at: usize) -> Option<u16> {
    let digits = json.get(at..at + 6)?.strip_prefix(b"\\u")?;
    let digits = std::str::from_utf8(digits).ok()?;
    // A sign is none of JSON's.
    let hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    hexadecimal.then(|| u16::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> String {
        serde_json::from_slice(&mended(json.as_bytes())).unwrap()
    }

    #[test]
    fn halves_become_replacement_characters() {
        for (json, expected) in [
            (r#""a\ud83d""#, "a\u{fffd}"),
            (r#""\uDE00b""#, "\u{fffd}b"),
            (r#""\ud83d\ude00""#, "😀"),
            (r#""\ud83d\ud83d\ude00\ude00""#, "\u{fffd}😀\u{fffd}"),
            (r#""\ud83dx\ude00""#, "\u{fffd}x\u{fffd}"),
            (r#""\\ud83d""#, r"\ud83d"),
            (r#""\\\ud83d\n""#, "\\\u{fffd}\n"),
            (r#""\ud83d\n""#, "\u{fffd}\n"),
            (r#""\ud83d\u0041""#, "\u{fffd}A"),
        ] {
            assert_eq!(text(json), expected, "{json}");
        }
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        for json in [
            r#""\u00e9 \"😀\"""#,
            r#""\u+83d""#,
            "\"\\",
            "\"\\ud8",
            "\\u",
            "",
        ] {
            let mended = mended(json.as_bytes());
            assert!(matches!(mended, Cow::Borrowed(_)), "{json}");
            assert_eq!(&*mended, json.as_bytes());
        }
    }
}
