//! A request's JSON body.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use futures_util::TryStreamExt;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;
use serde_path_to_error::Track;

use super::surrogates::mended;
use crate::problem::{Cause, Problem};
use crate::unknown::UnknownFields;

/// Longer bodies are decoded where nobody else waits.
const LONG: usize = 64 << 10;

/// A decoded body.
#[derive(Debug)]
pub(crate) struct Body<T>(pub(crate) T);

impl<T, S> FromRequest<S> for Body<T>
where
    T: DeserializeOwned + Send + 'static,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(
                Cause::MediaType,
                "the body's content type must be application/json",
            ));
        }
        Ok(Self(read(request).await?))
    }
}

/// The same, where clients send JSON under any name.
#[derive(Debug)]
pub(crate) struct AnyKind<T>(pub(crate) T);

impl<T, S> FromRequest<S> for AnyKind<T>
where
    T: DeserializeOwned + Send + 'static,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        Ok(Self(read(request).await?))
    }
}

async fn read<T: DeserializeOwned + Send + 'static>(request: Request) -> Result<T, Problem> {
    let encoding = request.headers().get(CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| encoding != "identity") {
        return Err(Problem::new(
            Cause::MediaType,
            "the body must not be compressed: this server takes no content encoding",
        ));
    }
    let unknown = request.extensions().get::<UnknownFields>().cloned();
    let unknown = unknown.unwrap_or_default();
    let unread = |_| Problem::new(Cause::Syntax, "the body can't be read");
    let bytes = collect(request.into_body()).await.map_err(unread)?;
    if bytes.len() < LONG {
        return decode(&bytes, &unknown);
    }
    let decoded = tokio::task::spawn_blocking(move || decode(&bytes, &unknown)).await;
    let stopped = |_| Problem::new(Cause::Stopping, "the server is stopping");
    decoded.map_err(stopped)?
}

/// All of a body in one piece. Frames are put together as they come: many small ones would take more
/// than their bytes.
async fn collect(body: axum::body::Body) -> Result<Bytes, axum::Error> {
    let mut frames = body.into_data_stream();
    let Some(first) = frames.try_next().await? else {
        return Ok(Bytes::new());
    };
    let Some(second) = frames.try_next().await? else {
        return Ok(first);
    };
    let mut whole = [first, second].concat();
    while let Some(frame) = frames.try_next().await? {
        whole.extend_from_slice(&frame);
    }
    Ok(whole.into())
}

/// What isn't said to be something else may be JSON. A browser's page can send a form or plain text
/// to another site unasked, JSON not.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE) else {
        return true;
    };
    let kind = kind.to_str().unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
        || (kind.len() > 5 && kind.to_ascii_lowercase().ends_with("+json"))
}

/// From JSON, or what is wrong with it and in which field.
fn decode<T: DeserializeOwned>(bytes: &[u8], unknown: &UnknownFields) -> Result<T, Problem> {
    // Some programs put a byte order mark before it.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Problem::new(Cause::Syntax, "the request has no body"));
    }
    let bytes = mended(bytes);
    // Fields that are passed over count, too.
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        Problem::new(
            Cause::Syntax,
            format!("the body is not UTF-8 from byte {} on", error.valid_up_to()),
        )
    })?;
    // Some clients begin with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut json = serde_json::Deserializer::from_str(text);
    let mut track = Track::new();
    let mut passed_over = |path: serde_ignored::Path<'_>| unknown.add(&path.to_string());
    let fields = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let value = T::deserialize(serde_ignored::Deserializer::new(fields, &mut passed_over));
    let value = value.map_err(|error| wrong(text, &track.path().to_string(), &error))?;
    json.end().map_err(|error| syntax(&error))?;
    unknown.check()?;
    Ok(value)
}

/// What is wrong with a body, and in which field.
fn wrong(text: &str, field: &str, error: &serde_json::Error) -> Problem {
    match error.classify() {
        Category::Data if field == "." => Problem {
            field: missing(error),
            ..Problem::new(Cause::Type, not_an_object(text, error))
        },
        Category::Data => Problem::new(Cause::Type, format!("`{field}`: {error}")).at(field),
        // So it says of numbers and the like in the place of a word.
        _ if error.to_string().starts_with("expected value")
            && serde_json::from_str::<IgnoredAny>(text).is_ok() =>
        {
            let message = format!("`{field}`: the value has another type than the field");
            Problem::new(Cause::Type, message).at(field)
        }
        _ => syntax(error),
    }
}

/// The field that is missing, if that is what is wrong.
fn missing(error: &serde_json::Error) -> Option<String> {
    let error = error.to_string();
    let (field, _) = error.strip_prefix("missing field `")?.split_once('`')?;
    Some(field.to_owned())
}

/// What is wrong with the whole body.
fn not_an_object(text: &str, error: &serde_json::Error) -> String {
    if text.trim_start().starts_with('{') {
        error.to_string()
    } else {
        "the body must be a JSON object".to_owned()
    }
}

fn syntax(error: &serde_json::Error) -> Problem {
    Problem::new(
        Cause::Syntax,
        format!("the body is not valid JSON: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Point {
        #[serde(rename = "x")]
        _x: Vec<u8>,
        #[serde(rename = "w")]
        _w: Option<Word>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Word {
        One,
    }

    fn problem(body: &[u8]) -> Problem {
        decode::<Point>(body, &UnknownFields::default()).unwrap_err()
    }

    #[test]
    fn problems_name_the_field() {
        let wrong = problem(br#"{"x": [1, "2"]}"#);
        assert_eq!(wrong.cause, Cause::Type);
        assert_eq!(wrong.field.as_deref(), Some("x[1]"));
        assert!(wrong.message.starts_with("`x[1]`: invalid type: string"));
        let missing = problem(b"{}");
        assert_eq!(missing.cause, Cause::Type);
        assert!(missing.message.starts_with("missing field `x`"));
        assert_eq!(missing.field.as_deref(), Some("x"));
        for (body, field) in [
            (r#"{"x": [], "w": 5}"#, "w"),
            (r#"{"w": [], "x": []}"#, "w"),
        ] {
            let wrong = problem(body.as_bytes());
            assert_eq!(
                (wrong.cause, wrong.field.as_deref()),
                (Cause::Type, Some(field))
            );
        }
        for body in ["[]", " 5", "null", "\"x\""] {
            let wrong = problem(body.as_bytes());
            assert_eq!(wrong.cause, Cause::Type);
            assert_eq!(wrong.message, "the body must be a JSON object");
        }
    }

    #[test]
    fn what_is_no_json_is_said_to_be_none() {
        let deep = format!("{{\"y\": {}", "[".repeat(1000));
        for body in [
            &b""[..],
            b" \n",
            b"{",
            b"{\"x\": []} {}",
            b"{\"x\": [NaN]}",
            b"{\"y\": \"\xff\", \"x\": []}",
            deep.as_bytes(),
        ] {
            assert_eq!(problem(body).cause, Cause::Syntax, "{body:?}");
        }
    }

    #[test]
    fn what_is_no_field_is_told() {
        let unknown = UnknownFields::default();
        let body = b"\xef\xbb\xbf{\"x\": [1], \"y\": {\"z\": 2}, \"w\": \"one\"}";
        decode::<Point>(body, &unknown).unwrap();
        assert_eq!(
            format!("{unknown:?}").matches('"').count(),
            2,
            "{unknown:?}"
        );
        assert!(format!("{unknown:?}").contains("\"y\""), "{unknown:?}");
    }

    #[test]
    fn only_json_is_taken_for_json() {
        let is = |kind: &str| {
            is_json(
                &[(CONTENT_TYPE, kind.parse().unwrap())]
                    .into_iter()
                    .collect(),
            )
        };
        assert!(is("application/json") && is("Application/JSON; charset=utf-8"));
        assert!(is("application/vnd.api+json"));
        assert!(!is("text/plain") && !is("application/x-www-form-urlencoded") && !is("+json"));
        assert!(is_json(&HeaderMap::new()));
    }
}
