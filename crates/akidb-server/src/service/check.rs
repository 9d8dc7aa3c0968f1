//! Limits that contradict each other.

use super::error::ServiceError;
use crate::settings::Settings;

/// Whether the settings fit each other; an error says which don't and why.
pub(super) fn check(settings: &Settings) -> Result<(), ServiceError> {
    let wrong = |message: String| Err(ServiceError::Settings(message));
    if settings.models.is_empty() {
        return wrong("no model is named".to_owned());
    }
    for (index, model) in settings.models.iter().enumerate() {
        let before = settings.models.iter().take(index);
        if before.into_iter().any(|other| other.name == model.name) {
            return wrong(format!("the model {} is named twice", model.name));
        }
    }
    let counts = [
        ("max_client_batch_size", settings.max_client_batch_size),
        ("max_batch_tokens", settings.max_batch_tokens),
        ("max_queue_bytes", settings.max_queue_bytes),
        ("max_connections", settings.max_connections),
        ("max_body_bytes", settings.max_body_bytes),
    ];
    if let Some((name, _)) = counts.iter().find(|(_, count)| *count == 0) {
        return wrong(format!("{name} is 0: no request could be answered"));
    }
    let times = [
        ("max_pass_time", settings.max_pass_time),
        ("request_timeout", settings.request_timeout),
        ("header_timeout", settings.header_timeout),
        ("body_timeout", settings.body_timeout),
    ];
    if let Some((name, _)) = times.iter().find(|(_, time)| time.is_zero()) {
        return wrong(format!("{name} is 0: no request could be answered"));
    }
    if settings.max_wait > settings.request_timeout {
        return wrong(format!(
            "max_wait ({:?}) is longer than request_timeout ({:?}): requests would be accepted \
             that are given up before their turn",
            settings.max_wait, settings.request_timeout
        ));
    }
    let is_origin = |origin: &str| {
        let host = origin.strip_prefix("http://");
        let host = host.or_else(|| origin.strip_prefix("https://"));
        origin == "*"
            || host.is_some_and(|host| {
                !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic() && b != b'/')
            })
    };
    if let Some(origin) = settings.cors_origins.iter().find(|o| !is_origin(o)) {
        return wrong(format!(
            "cors_origins: {origin:?} is not an origin, such as https://app.example"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use akidb_embedding::EmbedderBuilder;

    use super::*;
    use crate::settings::ModelSettings;

    #[test]
    fn settings_that_contradict_each_other_are_named() {
        let model = ModelSettings {
            name: "m".to_owned(),
            builder: EmbedderBuilder::default(),
        };
        let sound = Settings {
            models: vec![model.clone()],
            ..Settings::default()
        };
        check(&sound).unwrap();
        let second = Duration::from_secs(1);
        let wrong: [(Settings, &str); 4] = [
            (Settings::default(), "no model"),
            (
                Settings {
                    models: vec![model.clone(), model],
                    ..sound.clone()
                },
                "m is named twice",
            ),
            (
                Settings {
                    max_batch_tokens: 0,
                    ..sound.clone()
                },
                "max_batch_tokens",
            ),
            (
                Settings {
                    max_wait: 2 * second,
                    request_timeout: second,
                    ..sound
                },
                "max_wait (2s) is longer than request_timeout (1s)",
            ),
        ];
        for (settings, what) in wrong {
            let error = check(&settings).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
