//! `models pull`: from the hub to the store.

use std::time::Instant;

use akidb_embedding::{BUILTIN_MODEL, model_store};
use akidb_models::Request;
use clap::Args;

use super::fetching::Fetching;
use super::{bytes, source, vectors};
use crate::args::ModelId;
use crate::error::CliError;
use crate::message::message;
use crate::print::print;

#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  akidb-embed models pull qwen3-embedding-0.6b
  akidb-embed models pull owner/name --variant int8")]
pub(crate) struct PullArgs {
    #[command(flatten)]
    model: ModelId,

    /// Which weights: f32, fp16, int8, q4f16 …, safetensors; auto takes what suits this machine
    #[arg(long, value_name = "NAME", default_value = "auto")]
    variant: String,

    /// Branch, tag or commit [default: the pinned commit of known models, else main]
    #[arg(long, value_name = "R")]
    revision: Option<String>,

    /// Take another revision than the one that is installed, and remove that one
    #[arg(long)]
    replace: bool,

    /// Don't look at the model's vectors once its files are here
    #[arg(long)]
    no_verify: bool,
}

pub(crate) fn run(args: &PullArgs) -> Result<(), CliError> {
    if args.model.get() == BUILTIN_MODEL {
        return print(&format!("{BUILTIN_MODEL} is built in\n"));
    }
    let store = model_store()?;
    let request = Request {
        model: args.model.get().to_owned(),
        variant: (args.variant != "auto").then(|| args.variant.clone()),
        revision: args.revision.clone(),
        replace: args.replace,
        machine: source::machine(),
    };
    let started = Instant::now();
    let fetching = Fetching::new();
    let pulled = source::hub()?.pull(&store, &request, &|event| fetching.tell(event));
    fetching.finish();
    let pulled = pulled?;
    if pulled.in_hub_cache {
        message(format_args!(
            "it is in the Hugging Face cache and is used there"
        ));
    } else if pulled.fetched == 0 {
        message(format_args!("it was here already; its checksums agree"));
    } else {
        let seconds = started.elapsed().as_secs_f64();
        let rate = bytes((pulled.fetched as f64 / seconds.max(1e-3)) as u64);
        let fetched = bytes(pulled.fetched);
        message(format_args!(
            "fetched {fetched} in {seconds:.1} s ({rate}/s); its checksums agree"
        ));
    }
    print(&format!(
        "{} {} {}\n{}\n",
        pulled.id,
        pulled.variant,
        pulled.revision,
        pulled.root.display()
    ))?;
    if args.no_verify {
        return Ok(());
    }
    match vectors::look_at(&store, &pulled.id.to_string(), &pulled.variant)? {
        true => Ok(()),
        false => Err(CliError::WrongVectors(pulled.id.to_string())),
    }
}
