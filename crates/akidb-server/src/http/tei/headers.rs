//! What answers say that are nothing but vectors: TEI's headers, and ours.

use std::fmt::{Display, Write};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::service::EmbedAnswer;

/// Longer lists are left out: servers in between and clients take no headers of any length.
const MAX_BYTES: usize = 4096;

/// The names of all of them.
pub(super) static NAMES: [HeaderName; 12] = [
    HeaderName::from_static("x-compute-type"),
    HeaderName::from_static("x-compute-characters"),
    HeaderName::from_static("x-compute-tokens"),
    HeaderName::from_static("x-tokenization-time"),
    HeaderName::from_static("x-queue-time"),
    HeaderName::from_static("x-inference-time"),
    HeaderName::from_static("x-compute-time"),
    HeaderName::from_static("x-total-time"),
    HeaderName::from_static("x-akidb-provenance"),
    HeaderName::from_static("x-akidb-tokens"),
    HeaderName::from_static("x-akidb-truncated"),
    HeaderName::from_static("x-akidb-truncated-inputs"),
];

pub(super) fn headers(answer: &EmbedAnswer, characters: usize, start: Instant) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut put = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    let milliseconds = |time: Duration| time.as_millis().to_string();
    let provenance = &answer.provenance;
    let gpu = ["cuda", "tensorrt", "directml"];
    let on_gpu = gpu
        .iter()
        .any(|provider| provenance.device.contains(provider));
    put(
        "x-compute-type",
        if on_gpu { "gpu" } else { "cpu" }.to_owned(),
    );
    put("x-compute-characters", characters.to_string());
    put("x-compute-tokens", answer.total_tokens.to_string());
    put("x-tokenization-time", milliseconds(answer.timing.tokenize));
    put("x-queue-time", milliseconds(answer.timing.queue));
    put("x-inference-time", milliseconds(answer.timing.compute));
    let total = milliseconds(start.elapsed());
    put("x-compute-time", total.clone());
    put("x-total-time", total);

    if let Ok(json) = serde_json::to_string(&**provenance) {
        put("x-akidb-provenance", ascii(&json));
    }
    if let Some(tokens) = list(answer.embeddings.iter().map(|e| e.tokens)) {
        put("x-akidb-tokens", tokens);
    }
    let cut = || {
        let all = answer.embeddings.iter().enumerate();
        all.filter_map(|(index, embedding)| embedding.truncated.then_some(index))
    };
    put("x-akidb-truncated", cut().count().to_string());
    if let Some(cut) = list(cut()).filter(|cut| !cut.is_empty()) {
        put("x-akidb-truncated-inputs", cut);
    }
    headers
}

/// With a comma between, unless that is too long.
fn list(items: impl Iterator<Item = impl Display>) -> Option<String> {
    let mut list = String::new();
    for item in items {
        let comma = if list.is_empty() { "" } else { "," };
        write!(list, "{comma}{item}").ok()?;
        if list.len() > MAX_BYTES {
            return None;
        }
    }
    Some(list)
}

/// The same JSON without a byte that a header can't hold.
fn ascii(json: &str) -> String {
    let mut ascii = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            ' '..='~' => ascii.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    ascii.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    ascii
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_fits_into_a_header() {
        let text = "Anweisung: ü 😀\u{7f}\n\"";
        let json = ascii(&serde_json::to_string(text).unwrap());
        assert!(HeaderValue::try_from(&json).is_ok());
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }

    #[test]
    fn lists_have_a_bound() {
        assert_eq!(list([1, 20].into_iter()).unwrap(), "1,20");
        assert_eq!(list([0; 0].into_iter()).unwrap(), "");
        assert_eq!(list([1000; 1000].into_iter()), None);
    }
}
