//! `models list`: what is here, and what could be.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use akidb_embedding::files::read_regular_file;
use akidb_embedding::{BUILTIN_MODEL, default_model, model_store, packed_weights_of};
use akidb_models::{CatalogEntry, Installed, Origin, Unfinished};
use akidb_onnx::parse_json;
use clap::Args;
use serde::Serialize;

use super::known::{self, columns};
use super::{bytes, tell_unreadable};
use crate::error::CliError;
use crate::print::{print, print_json};

/// Longest config.json that is read, in bytes.
const MAX_CONFIG: u64 = 1 << 20;

#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  akidb-embed models list
  akidb-embed models list --known
  akidb-embed models list --json")]
pub(crate) struct ListArgs {
    /// The models that are known by name: what they are, what they ask for, and what runs them
    #[arg(long)]
    known: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A variant of a model, or what interrupted downloads of a model have left.
#[derive(Debug, Serialize)]
struct Row {
    model: String,
    /// Without it: of a download that is not complete.
    variant: Option<String>,
    /// Bytes of the weights, where known; bytes on the disk of a download that is not complete.
    size: Option<u64>,
    precision: &'static str,
    dimension: Option<u64>,
    revision: Option<String>,
    installed: bool,
    /// `store`, `directory`, `hugging face cache`, `built in`, `hub` or `unfinished`.
    r#where: &'static str,
    /// Bytes of packed weights.
    packed: u64,
    /// Seconds since 1970.
    last_used: Option<u64>,
    verified: Option<u64>,
    /// Whether its vectors are right; null when nobody has looked.
    vectors_right: Option<bool>,
    /// Whether a checksum was another one when it was last compared.
    damaged: bool,
    /// Whether it is meant where no model is named.
    default: bool,
}

pub(crate) fn run(args: &ListArgs) -> Result<(), CliError> {
    let store = model_store()?;
    if args.known {
        return known::run(store.catalog(), args.json);
    }
    let (installed, unreadable) = store.installed_and_unreadable()?;
    tell_unreadable(&unreadable);
    let mut rows = Vec::new();
    for model in installed.iter().chain(&store.hub_cached()) {
        rows.extend(rows_of(model)?);
    }
    for entry in store.catalog().models() {
        for row in available(entry) {
            let here = |r: &Row| r.model == row.model && r.variant == row.variant;
            if !rows.iter().any(here) {
                rows.push(row);
            }
        }
    }
    rows.extend(store.unfinished()?.into_iter().map(unfinished));
    let default = default_model()?.unwrap_or_else(|| BUILTIN_MODEL.to_owned());
    for row in &mut rows {
        row.default = row.installed && row.model == default;
    }
    rows.sort_by_key(|r| (!r.installed, r.r#where == "hub"));
    if args.json {
        return print_json(&rows);
    }
    print(&table(&rows, &store))
}

fn rows_of(model: &Installed) -> Result<Vec<Row>, CliError> {
    let seconds = |time: SystemTime| Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs());
    let manifest = model.manifest();
    let dimension = dimension(&model.root);
    let row = |(variant, size): (String, u64)| {
        let entry = manifest.and_then(|m| m.variant(&variant));
        let damaged = manifest
            .zip(entry)
            .is_some_and(|(manifest, entry)| manifest.is_damaged(entry));
        // What was found before the damage holds no more.
        let sound = manifest.filter(|_| !damaged);
        Row {
            model: model.id.clone(),
            precision: precision(&variant),
            size: Some(size),
            dimension,
            revision: model.revision.clone(),
            installed: true,
            r#where: match model.origin {
                Origin::Store(_) => "store",
                Origin::Directory => "directory",
                Origin::HubCache => "hugging face cache",
            },
            packed: packed(model, &variant),
            last_used: model.last_used().and_then(seconds),
            verified: sound.map(|m| m.verified),
            vectors_right: sound
                .and(entry)
                .and_then(|v| v.vectors)
                .map(|vectors| vectors.right),
            damaged,
            default: false,
            variant: Some(variant),
        }
    };
    Ok(model.variants()?.into_iter().map(row).collect())
}

/// Bytes of the packed weights of a variant.
fn packed(model: &Installed, variant: &str) -> u64 {
    let Some(manifest) = model.manifest() else {
        return 0;
    };
    let files = manifest.variant(variant).map(|v| v.files.as_slice());
    let path = |file: &akidb_models::RepoPath| model.root.join(file.as_str()).canonicalize().ok();
    let files: Vec<_> = files.unwrap_or_default().iter().filter_map(path).collect();
    let packs = packed_weights_of(&files).into_iter();
    packs.map(|(_, bytes)| bytes).fold(0, u64::saturating_add)
}

fn available(entry: &CatalogEntry) -> Vec<Row> {
    let built_in = entry.id == BUILTIN_MODEL;
    let row = |variant: &akidb_models::CatalogVariant| Row {
        model: entry.id.clone(),
        variant: Some(variant.name.clone()),
        size: variant.size,
        precision: precision(&variant.name),
        dimension: entry.dimension.map(|d| d as u64),
        revision: entry.revision.map(|r| r.to_string()),
        installed: built_in,
        r#where: if built_in { "built in" } else { "hub" },
        packed: 0,
        last_used: None,
        verified: None,
        vectors_right: None,
        damaged: false,
        default: false,
    };
    entry.variants.iter().map(row).collect()
}

fn unfinished(of: Unfinished) -> Row {
    Row {
        model: of.id.to_string(),
        variant: None,
        size: Some(of.bytes),
        precision: "-",
        dimension: None,
        revision: None,
        installed: false,
        r#where: "unfinished",
        packed: 0,
        last_used: None,
        verified: None,
        vectors_right: None,
        damaged: false,
        default: false,
    }
}

/// The model's own word on the length of its vectors.
fn dimension(root: &Path) -> Option<u64> {
    let path = root.join("config.json");
    let config = read_regular_file(&path, MAX_CONFIG).ok()?;
    let config: serde_json::Value = parse_json(&config).ok()?;
    config.get("hidden_size")?.as_u64()
}

/// What a variant's name says of its weights.
fn precision(variant: &str) -> &'static str {
    match variant {
        "f32" => "f32",
        "fp16" => "f16",
        "int8" | "quantized" | "uint8" => "8 bits",
        "q4" | "q4f16" | "bnb4" => "4 bits",
        _ => "-",
    }
}

fn table(rows: &[Row], store: &akidb_models::Store) -> String {
    let mut lines = vec![
        [
            "MODEL", "VARIANT", "SIZE", "WEIGHTS", "DIM", "PACKED", "USED", "VERIFIED",
        ]
        .map(str::to_owned),
    ];
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let here = rows.iter().filter(|r| r.installed);
    lines.extend(here.map(|r| {
        [
            match (r.r#where, r.default) {
                ("store", false) => r.model.clone(),
                ("store", true) => format!("{} (default)", r.model),
                (place, false) => format!("{} ({place})", r.model),
                (place, true) => format!("{} ({place}, default)", r.model),
            },
            or_dash(r.variant.clone()),
            or_dash(r.size.map(bytes)),
            r.precision.to_owned(),
            or_dash(r.dimension.map(|d| d.to_string())),
            or_dash((r.packed > 0).then(|| bytes(r.packed))),
            or_dash(r.last_used.map(ago)),
            or_dash(r.damaged.then(|| "DAMAGED".to_owned()).or_else(|| {
                r.verified.map(|at| {
                    let vectors = match r.vectors_right {
                        None => "hash",
                        Some(true) => "hash + numeric",
                        Some(false) => "hash, vectors WRONG",
                    };
                    format!("{vectors}, {}", ago(at))
                })
            })),
        ]
    }));
    let mut text = columns(&lines);
    let parts = rows.iter().filter(|r| r.r#where == "unfinished");
    let lines: Vec<_> = parts
        .map(|r| [r.model.clone(), or_dash(r.size.map(bytes))])
        .collect();
    if !lines.is_empty() {
        text.push_str(
            "\nNot complete (models pull goes on, models remove --unfinished deletes them):\n",
        );
        text.push_str(&columns(&lines));
    }
    text.push_str("\nTo be fetched (akidb-embed models pull NAME):\n");
    let entries = store.catalog().models().iter();
    let entries = entries.filter(|e| e.id != BUILTIN_MODEL && !e.variants.is_empty());
    let lines: Vec<_> = entries
        .map(|entry| {
            let name = entry.aliases.first().unwrap_or(&entry.id).clone();
            let variants = entry.variants.iter();
            let variants = variants.map(|v| match v.size {
                Some(size) => format!("{} {}", v.name, bytes(size)),
                None => v.name.clone(),
            });
            [
                name,
                entry.id.clone(),
                variants.collect::<Vec<_>>().join(", "),
            ]
        })
        .collect();
    text.push_str(&columns(&lines));
    text.push_str("\nMany others: models list --known\n");
    text
}

/// How long ago that is. A time in the future, after the clock was set, is now.
fn ago(seconds: u64) -> String {
    let then = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    let age = then.and_then(|then| SystemTime::now().duration_since(then).ok());
    match age.unwrap_or_default().as_secs() {
        0..60 => "now".to_owned(),
        s @ 60..3_600 => format!("{} min ago", s / 60),
        s @ 3_600..86_400 => format!("{} h ago", s / 3_600),
        s => format!("{} d ago", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short_and_never_negative() {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        for (age, text) in [
            (0, "now"),
            (90, "1 min ago"),
            (7_300, "2 h ago"),
            (864_000, "10 d ago"),
        ] {
            assert_eq!(ago(now - age), text);
        }
        assert_eq!(ago(now + 5_000), "now");
        assert_eq!(ago(u64::MAX), "now");
    }
}
