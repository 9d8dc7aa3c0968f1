//! `models default`: the model that is meant where none is named.

use akidb_embedding::{BUILTIN_MODEL, env, model_store};
use akidb_models::Store;
use clap::Args;

use crate::error::CliError;
use crate::message::message;
use crate::print::print;

#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  akidb-embed models default qwen3-embedding-0.6b
  akidb-embed models default --unset",
    after_help = "\
AKIDB_MODEL comes before what is set here. Without either, the built-in model is meant, whatever is \
installed."
)]
pub(crate) struct DefaultArgs {
    /// Short name or id of an installed model [default: show what is set]
    #[arg(value_name = "ID", conflicts_with_all = ["model", "unset"])]
    named: Option<String>,

    /// The same, as other commands take it
    #[arg(long, short, value_name = "ID", conflicts_with = "unset")]
    model: Option<String>,

    /// Have the built-in model meant again
    #[arg(long)]
    unset: bool,
}

pub(crate) fn run(args: &DefaultArgs) -> Result<(), CliError> {
    let store = model_store()?;
    if args.unset {
        store.set_default_model(None)?;
    } else if let Some(model) = args.named.as_ref().or(args.model.as_ref()) {
        let id = id(&store, model)?;
        store.set_default_model(Some(&id))?;
    }
    let set = store.default_model()?;
    if set.is_none() {
        message(format_args!("none is set: the built-in model is meant"));
    }
    if let Some(model) = env::AKIDB_MODEL.get() {
        message(format_args!(
            "{} is set and comes before it: {model}",
            env::AKIDB_MODEL.name
        ));
    }
    print(&format!("{}\n", set.as_deref().unwrap_or(BUILTIN_MODEL)))
}

/// The id of a model that is here.
fn id(store: &Store, model: &str) -> Result<String, CliError> {
    if model == BUILTIN_MODEL {
        return Ok(model.to_owned());
    }
    match store.find(model)? {
        Some(found) => Ok(found.id),
        None => Err(store.not_installed(model).into()),
    }
}
