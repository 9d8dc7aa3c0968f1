//! docs/server.md says what the server does.

use std::fmt::Write;
use std::path::Path;

use akidb_server::{SETTINGS, Settings};

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/server.md");
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn all_settings_are_listed_with_their_defaults() {
    let defaults = Settings::default();
    let mut table = "| setting | value | default | |\n|---|---|---|---|\n".to_owned();
    for setting in SETTINGS {
        let default = setting.show(&defaults).map(|value| format!("`{value}`"));
        writeln!(
            table,
            "| `{}` | {} | {} | {} |",
            setting.name,
            setting.value.replace('|', r"\|"),
            default.unwrap_or_default(),
            setting.doc
        )
        .unwrap();
    }
    assert!(
        document().contains(&table),
        "docs/server.md lacks:\n{table}"
    );
}

#[test]
fn all_metrics_are_listed() {
    let document = document();
    let exporter = include_str!("../../src/exporter.rs");
    let names: Vec<&str> = exporter
        .split('"')
        .filter(|part| part.starts_with("akidb_"))
        .collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert!(document.contains(&format!("`{name}`")), "{name}");
    }
}
