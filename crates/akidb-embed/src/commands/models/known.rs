//! `models list --known`: the catalog.

use akidb_embedding::BUILTIN_MODEL;
use akidb_models::{Catalog, CatalogEntry, CatalogTask};
use akidb_transformer::ModelConfig;
use serde::Serialize;

use crate::error::CliError;
use crate::print::{print, print_json};
use crate::text::{pad, width};

/// A known model, and what runs it.
#[derive(Debug, Serialize)]
struct Known<'a> {
    #[serde(flatten)]
    entry: &'a CatalogEntry,
    /// The backends, the one that `auto` takes first.
    backends: Vec<&'static str>,
}

pub(super) fn run(catalog: &Catalog, json: bool) -> Result<(), CliError> {
    let known: Vec<Known<'_>> = catalog
        .models()
        .iter()
        .map(|entry| Known {
            entry,
            backends: backends(entry),
        })
        .collect();
    match json {
        true => print_json(&known),
        false => print(&text(&known)),
    }
}

/// RTen and ONNX Runtime take ONNX files alone; which files a repository has, the hub says.
fn backends(entry: &CatalogEntry) -> Vec<&'static str> {
    let is_native = entry.model_type.as_deref().is_some_and(ModelConfig::knows);
    let native = is_native.then_some("native");
    native.into_iter().chain(["rten", "onnxruntime"]).collect()
}

fn text(known: &[Known<'_>]) -> String {
    let mut lines = vec![
        [
            "MODEL", "DOES", "FAMILY", "WEIGHTS", "DIM", "TOKENS", "LICENCE", "RUNS ON",
        ]
        .map(str::to_owned),
    ];
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    lines.extend(known.iter().map(|Known { entry, backends }| {
        [
            name(entry),
            does(entry.task).to_owned(),
            or_dash(entry.model_type.clone()),
            or_dash(entry.parameters.map(rounded)),
            or_dash(entry.dimension.map(|dimension| widths(entry, dimension))),
            or_dash(entry.max_tokens.map(|n| n.to_string())),
            or_dash(entry.license.clone()),
            backends.first().copied().unwrap_or_default().to_owned(),
        ]
    }));
    let mut text = columns(&lines);
    let prompts: Vec<[String; 3]> = known
        .iter()
        .filter_map(|Known { entry, .. }| {
            let (query, document) = (&entry.query_prompt, &entry.document_prompt);
            let shown = |prompt: &Option<String>| match prompt {
                Some(prompt) => format!("{prompt:?}"),
                None => "-".to_owned(),
            };
            (query.is_some() || document.is_some())
                .then(|| [name(entry), shown(query), shown(document)])
        })
        .collect();
    if !prompts.is_empty() {
        let head = ["BEFORE", "A QUERY", "A DOCUMENT"].map(str::to_owned);
        text.push('\n');
        text.push_str(&columns(&[vec![head], prompts].concat()));
    }
    text.push_str("\nakidb-embed models pull NAME fetches one; models show NAME says more of it\n");
    text
}

fn does(task: CatalogTask) -> &'static str {
    match task {
        CatalogTask::Embed => "embed",
        CatalogTask::Rerank => "rerank",
    }
}

/// What users call it.
fn name(entry: &CatalogEntry) -> String {
    match entry.id == BUILTIN_MODEL {
        true => format!("{} (built in)", entry.id),
        false => entry.aliases.first().unwrap_or(&entry.id).clone(),
    }
}

/// The full width, and the shorter ones that the model was trained for.
fn widths(entry: &CatalogEntry, dimension: usize) -> String {
    match (entry.least_dimension, &entry.matryoshka_dimensions[..]) {
        (Some(least), _) => format!("{least}–{dimension}"),
        (None, []) => dimension.to_string(),
        (None, shorter) => {
            let widths = shorter.iter().chain([&dimension]);
            widths.map(usize::to_string).collect::<Vec<_>>().join(", ")
        }
    }
}

/// A count of weights in three digits at most.
fn rounded(parameters: u64) -> String {
    match parameters {
        0..10_000_000 => format!("{:.1} M", parameters as f64 / 1e6),
        10_000_000..1_000_000_000 => format!("{:.0} M", parameters as f64 / 1e6),
        _ => format!("{:.1} B", parameters as f64 / 1e9),
    }
}

/// Cells below each other, two blanks apart.
pub(super) fn columns<const N: usize>(lines: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for line in lines {
        for (most, cell) in widths.iter_mut().zip(line) {
            *most = width(cell).max(*most);
        }
    }
    let mut text = String::new();
    for line in lines {
        let cells = line
            .iter()
            .zip(widths)
            .map(|(cell, width)| pad(cell, width));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}
