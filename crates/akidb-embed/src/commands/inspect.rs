//! `inspect`: what is inside a model file or directory.

use std::fmt::{self, Display, Formatter, Write};
use std::path::{Path, PathBuf};

use akidb_embedding::diagnostics;
use akidb_embedding::files::{ModelFiles, WeightsSource};
use akidb_transformer::inspect::{
    Architecture, ConfigFile, Content, Inspection, ModelFile, TensorFile, inspect, inspect_onnx,
};
use clap::Args;
use serde::Serialize;

use crate::args::ModelArgument;
use crate::error::CliError;
use crate::print::{print, print_json};

#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  akidb-embed inspect qwen3-embedding-0.6b
  akidb-embed inspect path/to/model.onnx --json",
    after_help = "\
It reads and says what is there. Whether that is whole and fits together is what validate says, and \
whether the vectors are right is what verify says."
)]
pub(crate) struct InspectArgs {
    #[command(flatten)]
    model: ModelArgument,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    inspection: &'a Inspection,
    runs_on: &'a [RunsOn],
    /// Of this machine, for the native engine.
    cpu_tier: &'static str,
}

/// Who can run a file, as far as it tells.
#[derive(Serialize)]
struct RunsOn {
    path: PathBuf,
    /// The one that is taken first is first.
    backends: &'static [&'static str],
    /// Why the native engine isn't among them.
    not_native: Option<String>,
}

pub(crate) fn run(args: &InspectArgs) -> Result<(), CliError> {
    let files = args.model.find()?;
    let inspection = match files.root() {
        None => built_in(&files)?,
        Some(root) => {
            // A file that was named, and not all that are beside it.
            let named = args.model.get().map(Path::new);
            inspect(named.filter(|named| named.exists()).unwrap_or(root))?
        }
    };
    let runs_on: Vec<_> = inspection.files.iter().filter_map(runs_on).collect();
    let cpu_tier = diagnostics::cpu_tier()?;
    if args.json {
        return print_json(&Report {
            inspection: &inspection,
            runs_on: &runs_on,
            cpu_tier,
        });
    }
    let mut text = inspection.to_string();
    for file in &runs_on {
        // Writing to a string can't fail.
        let _ = writeln!(text, "{file}");
    }
    print(&format!("{text}this machine\n  cpu tier: {cpu_tier}\n"))
}

/// The files that are part of the program.
fn built_in(files: &ModelFiles) -> Result<Inspection, CliError> {
    let config = files.model_config()?;
    let mut found = Vec::new();
    for weights in files.variants()? {
        for graph in weights.source.graphs()? {
            found.push(ModelFile {
                path: format!("{} {}", files.id(), weights.variant).into(),
                bytes: match weights.source {
                    WeightsSource::OnnxBytes(bytes) => bytes.len() as u64,
                    _ => 0,
                },
                content: Content::Onnx(Box::new(inspect_onnx(&graph, config.as_ref()))),
            });
        }
    }
    let config = ConfigFile {
        path: files.label("config.json").into(),
        config,
        error: None,
    };
    Ok(Inspection {
        config: Some(config),
        files: found,
    })
}

/// `None` for a file that is broken, which is told with it.
fn runs_on(file: &ModelFile) -> Option<RunsOn> {
    let (tensors, others): (&TensorFile, &[_]) = match &file.content {
        Content::Onnx(onnx) => (&onnx.tensors, &["onnxruntime", "rten"]),
        Content::Safetensors(tensors) => (tensors, &[]),
        Content::Error(_) => return None,
    };
    let (backends, not_native): (&[_], _) = match &tensors.architecture {
        _ if !tensors.disagreements.is_empty() => return None,
        Architecture::Decoder(_) | Architecture::Encoder(_) => (&["native"], None),
        Architecture::NotRecognised(why) => (others, Some(why.clone())),
        Architecture::Broken(_) => return None,
    };
    Some(RunsOn {
        path: file.path.clone(),
        backends,
        not_native,
    })
}

impl Display for RunsOn {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let backends = match self.backends {
            ["native"] => "the native engine",
            [] => "no backend",
            _ => "ONNX Runtime or RTen",
        };
        write!(f, "{} runs on {backends}", self.path.display())?;
        match &self.not_native {
            None => Ok(()),
            Some(why) => write!(f, ": the native engine can't ({why})"),
        }
    }
}
