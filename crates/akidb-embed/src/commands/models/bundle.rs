//! `models export` and `models import`: a model as one file.

use std::fs;
use std::path::PathBuf;

use akidb_embedding::model_store;
use clap::Args;

use super::bytes;
use super::copying::Copying;
use crate::args::ModelId;
use crate::error::CliError;
use crate::print::print;

#[derive(Debug, Args)]
#[command(
    allow_missing_positional = true,
    before_help = "\
Examples:
  akidb-embed models export qwen3-embedding-0.6b model.tar
  akidb-embed models export -m owner/name model.tar"
)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    model: ModelId,

    /// The file, which appears when it is complete
    #[arg(value_name = "FILE.tar")]
    file: PathBuf,
}

#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  akidb-embed models import model.tar
  akidb-embed models import model.tar --replace")]
pub(crate) struct ImportArgs {
    /// A file that `models export` wrote
    #[arg(value_name = "FILE.tar")]
    file: PathBuf,

    /// Take another revision than the one that is installed, and remove that one
    #[arg(long)]
    replace: bool,
}

pub(crate) fn export(args: &ExportArgs) -> Result<(), CliError> {
    let store = model_store()?;
    let model = args.model.get();
    let total = store.find(model)?.map_or(Ok(0), |m| m.bytes())?;
    let mut copying = Copying::new(format!("writing {}", args.file.display()), total);
    let exported = store.export(model, &args.file, &mut |n| copying.advance(n))?;
    drop(copying);
    print(&format!(
        "{} {} in {} ({})\n",
        exported.id,
        exported.variants.join(", "),
        args.file.display(),
        bytes(exported.bytes)
    ))
}

pub(crate) fn import(args: &ImportArgs) -> Result<(), CliError> {
    // Where it can't be read, the import says why.
    let total = fs::metadata(&args.file).map_or(0, |m| m.len());
    let mut copying = Copying::new(format!("reading {}", args.file.display()), total);
    let done = &mut |n| copying.advance(n);
    let manifest = model_store()?.import(&args.file, args.replace, done)?;
    drop(copying);
    let variants: Vec<_> = manifest.variants.iter().map(|v| v.name.as_str()).collect();
    print(&format!(
        "{} {} {}; its checksums agree\n",
        manifest.id,
        variants.join(", "),
        manifest.revision
    ))
}
