//! `models remove`: room on the disk.

use std::fs;
use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use akidb_embedding::{model_store, packed_weights_of};
use akidb_models::{Removal, Removed, Store};
use clap::Args;

use super::bytes;
use crate::error::CliError;
use crate::print::print;

#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  akidb-embed models remove qwen3-embedding-0.6b --keep int8
  akidb-embed models remove --unused 60")]
pub(crate) struct RemoveArgs {
    /// Short name or id
    #[arg(
        value_name = "ID",
        conflicts_with = "model",
        required_unless_present_any = ["model", "unused", "unfinished"]
    )]
    named: Option<String>,

    /// The same, as other commands take it
    #[arg(long, short, value_name = "ID")]
    model: Option<String>,

    /// Remove one variant only
    #[arg(long, value_name = "V", conflicts_with_all = ["keep", "unused"])]
    variant: Option<String>,

    /// Remove all variants but this one
    #[arg(long, value_name = "V", conflicts_with = "unused")]
    keep: Option<String>,

    /// Remove all models that were neither fetched nor loaded within so many days
    #[arg(
        long,
        value_name = "DAYS",
        num_args = 0..=1,
        default_missing_value = "30",
        conflicts_with_all = ["named", "model"]
    )]
    unused: Option<u32>,

    /// Remove downloads and imports that are not complete, of one model or of all
    #[arg(long, conflicts_with_all = ["variant", "keep", "unused"])]
    unfinished: bool,

    /// Don't ask
    #[arg(long, short)]
    yes: bool,
}

/// What goes, with the packed weights that were made of it.
struct Plan {
    removed: Removed,
    packs: Vec<(PathBuf, u64)>,
}

impl Plan {
    fn bytes(&self) -> u64 {
        let packs = self.packs.iter().map(|(_, bytes)| *bytes);
        packs.fold(self.removed.bytes, u64::saturating_add)
    }
}

pub(crate) fn run(args: &RemoveArgs) -> Result<(), CliError> {
    let store = model_store()?;
    let what = match (&args.variant, &args.keep) {
        (Some(name), _) => Removal::Variant(name.clone()),
        (_, Some(name)) => Removal::Keep(name.clone()),
        _ if args.unfinished => Removal::Unfinished,
        _ => Removal::All,
    };
    let models = match (args.named.as_ref().or(args.model.as_ref()), args.unused) {
        (Some(model), _) => vec![model.clone()],
        (None, _) if args.unfinished => {
            let unfinished = store.unfinished()?.into_iter();
            unfinished.map(|u| u.id.to_string()).collect()
        }
        (None, days) => {
            let days = Duration::from_hours(24).saturating_mul(days.unwrap_or_default());
            let unused = store.unused(days)?.into_iter();
            unused.map(|id| id.to_string()).collect()
        }
    };
    let mut plans = Vec::new();
    for model in &models {
        plans.push(plan(&store, model, &what)?);
    }
    if plans.iter().all(|p| p.removed.files.is_empty()) {
        return print("nothing to remove\n");
    }
    let total = plans.iter().map(Plan::bytes).fold(0, u64::saturating_add);
    if !args.yes && !confirmed(&plans, total)? {
        return print("nothing was removed\n");
    }
    for (model, plan) in models.iter().zip(&plans) {
        store.remove(model, &what)?;
        for (path, _) in &plan.packs {
            // They are made again, or are no longer there.
            let _ = fs::remove_file(path);
        }
        print(&format!(
            "removed {}: {}\n",
            describe(&plan.removed),
            bytes(plan.bytes())
        ))?;
    }
    Ok(())
}

fn plan(store: &Store, model: &str, what: &Removal) -> Result<Plan, CliError> {
    let removed = store.removal(model, what)?;
    let files = removed.files.iter().filter_map(|f| f.canonicalize().ok());
    Ok(Plan {
        packs: packed_weights_of(&files.collect::<Vec<_>>()),
        removed,
    })
}

fn describe(removed: &Removed) -> String {
    match (removed.whole, removed.variants.as_slice()) {
        (true, _) => removed.id.to_string(),
        (false, []) => format!("an unfinished download of {}", removed.id),
        (false, variants) => format!("{} {}", removed.id, variants.join(", ")),
    }
}

/// Asks on a terminal.
fn confirmed(plans: &[Plan], total: u64) -> Result<bool, CliError> {
    let (stdin, mut stderr) = (std::io::stdin(), std::io::stderr());
    let what: Vec<_> = plans.iter().map(|p| describe(&p.removed)).collect();
    let what = format!("{} ({})", what.join(" and "), bytes(total));
    if !stdin.is_terminal() || !stderr.is_terminal() {
        return Err(CliError::Usage(format!(
            "removing {what} needs --yes where nobody can be asked"
        )));
    }
    // Where that fails the answer is no.
    let _ = write!(stderr, "Remove {what}? [y/N] ");
    let _ = stderr.flush();
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    read.map_err(|source| CliError::Read {
        path: "standard input".into(),
        source,
    })?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}
