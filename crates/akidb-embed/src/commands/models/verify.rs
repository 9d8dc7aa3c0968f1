//! `models verify`: are the files still those that arrived, and the vectors right?

use std::collections::BTreeSet;

use akidb_embedding::files::ModelFiles;
use akidb_embedding::model_store;
use akidb_models::Store;
use clap::Args;

use super::copying::Copying;
use super::{bytes, tell_unreadable, vectors};
use crate::error::CliError;
use crate::print::print;

#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  akidb-embed models verify
  akidb-embed models verify qwen3-embedding-0.6b --checksums-only",
    after_help = "\
It compares checksums with those that the hub named, then looks at vectors as verify does. Whether a
model's files agree with each other is what validate says."
)]
pub(crate) struct VerifyArgs {
    /// Short name or id [default: every model that is here]
    #[arg(value_name = "ID", conflicts_with = "model")]
    named: Option<String>,

    /// The same, as other commands take it
    #[arg(long, short, value_name = "ID")]
    model: Option<String>,

    /// Only compare checksums, and run no model
    #[arg(long)]
    checksums_only: bool,
}

pub(crate) fn run(args: &VerifyArgs) -> Result<(), CliError> {
    let store = model_store()?;
    let mut unreadable = Vec::new();
    let models = match args.named.as_ref().or(args.model.as_ref()) {
        Some(model) => vec![model.clone()],
        None => {
            let (installed, others) = store.installed_and_unreadable()?;
            tell_unreadable(&others);
            unreadable.extend(others.into_iter().map(|other| other.id));
            let here = installed.into_iter().chain(store.hub_cached());
            let ids: BTreeSet<_> = here.map(|m| m.id).collect();
            ids.into_iter().collect()
        }
    };
    if models.is_empty() && unreadable.is_empty() {
        return print("no model is installed\n");
    }
    let (mut damaged, mut wrong) = (unreadable, Vec::new());
    for model in models {
        if !checksums(&store, &model)? {
            damaged.push(model);
        } else if !args.checksums_only {
            wrong.extend(wrong_variants(&store, &model)?);
        }
    }
    match (damaged.is_empty(), wrong.is_empty()) {
        (true, true) => Ok(()),
        (true, false) => Err(CliError::WrongVectors(wrong.join(", "))),
        (false, _) => Err(CliError::DamagedModels(damaged)),
    }
}

/// Looks at the vectors of a model's variants one after the other.
fn wrong_variants(store: &Store, model: &str) -> Result<Vec<String>, CliError> {
    let files = ModelFiles::find(Some(model))?;
    let mut wrong = Vec::new();
    for weights in files.variants()? {
        if !vectors::look_at(store, files.id(), &weights.variant)? {
            wrong.push(format!("{} {}", files.id(), weights.variant));
        }
    }
    Ok(wrong)
}

/// Compares the checksums of one model's files, and says what it found.
fn checksums(store: &Store, model: &str) -> Result<bool, CliError> {
    let total = store.model(model)?.map_or(Ok(0), |m| m.bytes())?;
    let mut copying = Copying::new(format!("reading {model}"), total);
    let verified = store.verify(model, &mut |n| copying.advance(n))?;
    drop(copying);
    let mut text = format!("{}: ", verified.id);
    if verified.damaged.is_empty() {
        let (files, size) = (verified.files, bytes(verified.bytes));
        text.push_str(&format!("the checksums of {files} files ({size}) agree\n"));
    } else {
        text.push_str("damaged\n");
        for file in &verified.damaged {
            text.push_str(&format!("  {file}\n"));
        }
    }
    if verified.unknown > 0 {
        let unknown = verified.unknown;
        text.push_str(&format!("  {unknown} files have no known checksum\n"));
    }
    print(&text)?;
    Ok(verified.damaged.is_empty())
}
