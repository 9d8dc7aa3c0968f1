//! `models show`: one model, here or on the hub.

use akidb_embedding::{BUILTIN_MODEL, model_store};
use akidb_models::{CatalogEntry, Event, Installed, Remote, Store};
use clap::Args;
use serde::Serialize;

use super::fetching::Fetching;
use super::{bytes, source};
use crate::args::ModelId;
use crate::error::CliError;
use crate::print::{print, print_json};

#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  akidb-embed models show qwen3-embedding-0.6b
  akidb-embed models show owner/name --json",
    after_help = "What is neither here nor known by name is looked up on the hub."
)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    model: ModelId,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Default, Serialize)]
struct Shown {
    id: String,
    installed: bool,
    path: Option<String>,
    revision: Option<String>,
    license: Option<String>,
    dimension: Option<usize>,
    least_dimension: Option<usize>,
    max_tokens: Option<usize>,
    matryoshka_dimensions: Vec<usize>,
    query_prompt: Option<String>,
    document_prompt: Option<String>,
    model_type: Option<String>,
    parameters: Option<u64>,
    variants: Vec<Variant>,
}

#[derive(Debug, Serialize)]
struct Variant {
    name: String,
    /// Bytes of its own files, where known.
    size: Option<u64>,
    installed: bool,
    files: Vec<String>,
}

pub(crate) fn run(args: &ShowArgs) -> Result<(), CliError> {
    let store = model_store()?;
    let shown = find(&store, args.model.get())?;
    if args.json {
        return print_json(&shown);
    }
    print(&text(&shown))
}

fn find(store: &Store, model: &str) -> Result<Shown, CliError> {
    let entry = store.catalog().get(model);
    let here = store.find(model)?;
    if entry.is_none() && here.is_none() {
        let fetching = Fetching::new();
        let tell = |event: Event<'_>| fetching.tell(event);
        return Ok(of_hub(source::hub()?.describe(store, model, None, &tell)?));
    }
    let mut shown = entry.map(of_catalog).unwrap_or_default();
    if shown.id == BUILTIN_MODEL {
        shown.installed = true;
        shown.variants.iter_mut().for_each(|v| v.installed = true);
    }
    if let Some(here) = here {
        add_installed(&mut shown, &here)?;
    }
    Ok(shown)
}

fn of_catalog(entry: &CatalogEntry) -> Shown {
    let variant = |v: &akidb_models::CatalogVariant| Variant {
        name: v.name.clone(),
        size: v.size,
        installed: false,
        files: v.files.iter().map(ToString::to_string).collect(),
    };
    Shown {
        id: entry.id.clone(),
        revision: entry.revision.map(|r| r.to_string()),
        license: entry.license.clone(),
        dimension: entry.dimension,
        least_dimension: entry.least_dimension,
        max_tokens: entry.max_tokens,
        matryoshka_dimensions: entry.matryoshka_dimensions.clone(),
        query_prompt: entry.query_prompt.clone(),
        document_prompt: entry.document_prompt.clone(),
        model_type: entry.model_type.clone(),
        parameters: entry.parameters,
        variants: entry.variants.iter().map(variant).collect(),
        ..Shown::default()
    }
}

fn of_hub(remote: Remote) -> Shown {
    let variant = |(v, size): (akidb_models::Variant, Option<u64>)| Variant {
        name: v.name,
        size,
        installed: false,
        files: v.files.iter().map(ToString::to_string).collect(),
    };
    Shown {
        id: remote.id.to_string(),
        revision: Some(remote.revision.to_string()),
        license: remote.license,
        variants: remote.variants.into_iter().map(variant).collect(),
        ..Shown::default()
    }
}

fn add_installed(shown: &mut Shown, model: &Installed) -> Result<(), CliError> {
    shown.id.clone_from(&model.id);
    shown.installed = true;
    shown.path = Some(model.root.display().to_string());
    shown.revision.clone_from(&model.revision);
    if let Some(license) = model.manifest().and_then(|m| m.license.clone()) {
        shown.license = Some(license);
    }
    for (name, size) in model.variants()? {
        shown.variants.retain(|v| v.name != name);
        let manifest = model.manifest().and_then(|m| m.variant(&name));
        let files = manifest.map(|v| v.files.as_slice()).unwrap_or_default();
        shown.variants.push(Variant {
            files: files.iter().map(ToString::to_string).collect(),
            size: Some(size),
            installed: true,
            name,
        });
    }
    shown.variants.sort_by_key(|v| !v.installed);
    Ok(())
}

fn text(shown: &Shown) -> String {
    let mut text = format!("{}\n", shown.id);
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            text.push_str(&format!("  {name:<15} {value}\n"));
        }
    };
    line("path", shown.path.clone());
    line("revision", shown.revision.clone());
    line("licence", shown.license.clone());
    line("family", shown.model_type.clone());
    let shorter = &shown.matryoshka_dimensions;
    let cut = match shown.least_dimension {
        Some(least) => format!(", trained to be cut down to {least}"),
        None if shorter.is_empty() => String::new(),
        None => format!(", trained to be cut to {shorter:?}"),
    };
    line("dimension", shown.dimension.map(|d| format!("{d}{cut}")));
    line(
        "longest text",
        shown.max_tokens.map(|n| format!("{n} tokens")),
    );
    line(
        "query prompt",
        shown.query_prompt.as_ref().map(|p| format!("{p:?}")),
    );
    line(
        "document prompt",
        shown.document_prompt.as_ref().map(|p| format!("{p:?}")),
    );
    for variant in &shown.variants {
        let size = variant.size.map(bytes).unwrap_or_default();
        let here = if variant.installed { "  here" } else { "" };
        line(
            "variant",
            Some(format!("{:<12} {size:>7}{here}", variant.name)),
        );
    }
    text
}
