use std::io::Write as _;
use std::time::Duration;

use super::*;

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn variable(name: &str, value: &str) -> [(String, String); 1] {
    [(name.to_owned(), value.to_owned())]
}

fn named(name: &str) -> &'static Setting {
    SETTINGS
        .iter()
        .find(|setting| setting.name == name)
        .unwrap()
}

#[test]
fn flags_go_over_the_environment_and_that_over_the_file() {
    let file = file(
        "port = 1\nhost = \"0.0.0.0\"\nmax_connections = 7\nkeep_alive = \"2m\"\ncors_origins = [\"http://a\", \"http://b\"]\n",
    );
    let mut layers = Layers::default();
    assert!(layers.file(file.path(), &[]).unwrap().is_empty());
    layers
        .environment(variable("AKIDB_SERVE_PORT", "2"), &[])
        .unwrap();
    layers
        .environment(variable("AKIDB_SERVE_MAX_CONNECTIONS", "8"), &[])
        .unwrap();
    layers
        .environment(variable("AKIDB_SERVE_HOST", ""), &[])
        .unwrap();
    layers.environment(variable("PATH", "/bin"), &[]).unwrap();
    layers.flag(named("port"), "3").unwrap();

    let settings = &layers.settings;
    assert_eq!(
        (settings.host.to_string().as_str(), settings.port),
        ("0.0.0.0", 3)
    );
    assert_eq!(settings.max_connections, 8);
    assert_eq!(settings.keep_alive, Duration::from_secs(120));
    assert_eq!(settings.cors_origins, ["http://a", "http://b"]);

    let shown = layers.to_toml();
    for line in [
        "port = 3 # --port".to_owned(),
        "max_connections = 8 # AKIDB_SERVE_MAX_CONNECTIONS".to_owned(),
        format!("keep_alive = \"2m\" # {}", file.path().display()),
        "drain_timeout = \"30s\" # default".to_owned(),
        "# unix_socket = # default".to_owned(),
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
    }
}

#[test]
fn what_is_shown_is_a_settings_file_of_the_same_settings() {
    let mut layers = Layers::default();
    layers.flag(named("tls_cert"), "a \"quoted\" name").unwrap();
    layers.flag(named("header_timeout"), "1500ms").unwrap();
    let shown = layers.to_toml();
    let mut again = Layers::default();
    again.file(file(&shown).path(), &[]).unwrap();
    for setting in SETTINGS {
        let value = setting.show(&layers.settings);
        assert_eq!(setting.show(&again.settings), value, "{}", setting.name);
    }
}

#[test]
fn unknown_names_are_told_with_the_nearest() {
    let error = |text: &str| {
        let file = file(text);
        let error = Layers::default().file(file.path(), &["model"]).unwrap_err();
        error.to_string()
    };
    let typo = error("max_conections = 1");
    assert!(
        typo.contains("max_conections: is max_connections meant?"),
        "{typo}"
    );
    assert!(error("models = []").contains("is model meant?"));
    let far = error("colour = \"red\"");
    assert!(far.contains("colour") && !far.contains("meant"), "{far}");

    let names = variable("AKIDB_SERVE_PROT", "1");
    let error = Layers::default().environment(names, &[]).unwrap_err();
    assert!(
        error.to_string().contains("is AKIDB_SERVE_PORT meant?"),
        "{error}"
    );
}

#[test]
fn wrong_values_are_told_with_their_place() {
    for (text, what) in [
        ("port = \"x\"", "port"),
        ("port = 65536", "65535"),
        ("port = [1]", "array"),
        ("host = \"0.0.0\"", "0.0.0.0"),
        ("keep_alive = \"long\"", "30s"),
        ("max_connections = -1", "whole number"),
        ("log_format = \"xml\"", "json"),
    ] {
        let file = file(text);
        let error = Layers::default().file(file.path(), &[]).unwrap_err();
        let error = error.to_string();
        assert!(error.contains(what), "{text}: {error}");
        assert!(
            error.contains(&*file.path().display().to_string()),
            "{error}"
        );
    }
    let file = file("port = ");
    assert!(matches!(
        Layers::default().file(file.path(), &[]),
        Err(SettingsError::Toml { .. })
    ));
    assert!(
        Layers::default()
            .file(Path::new("/no/such/file"), &[])
            .is_err()
    );
}
