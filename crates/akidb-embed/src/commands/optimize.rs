//! `optimize`: new files of a model, for hardware that can't run the published ones.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;

use akidb_embedding::EmbedError;
use akidb_embedding::files::{ModelFiles, Weights, WeightsSource, read_regular_file};
use akidb_onnx::model::OnnxModel;
use akidb_onnxruntime::coreml::{self, Coverage, Manifest, StaticShape, WriteOptions};
use akidb_transformer::{Transformer, decoder_from_safetensors, recognise};

use crate::args::ModelArgument;
use crate::error::CliError;
use crate::print::{print, print_json};

#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  akidb-embed optimize akidb-mini --target coreml --shapes 1x32,8x128 -o mini-coreml
  akidb-embed optimize path/to/model.onnx --target coreml --check")]
pub(crate) struct OptimizeArgs {
    #[command(flatten)]
    model: ModelArgument,

    /// Which of the model's weight files [default: the most exact one]
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,

    /// What the files are for
    #[arg(long, value_enum)]
    target: Target,

    /// Texts x tokens, one graph each, such as 1x32,1x128,8x128
    #[arg(
        long,
        value_name = "SHAPES",
        value_delimiter = ',',
        required_unless_present = "check"
    )]
    shapes: Vec<StaticShape>,

    /// Of the weights and the products with them
    #[arg(long, value_enum, default_value_t = Precision::F16)]
    precision: Precision,

    /// Directory for the new files; made if missing
    #[arg(long, short, value_name = "DIR", required_unless_present = "check")]
    output: Option<PathBuf>,

    /// Write nothing, only say how much of the model's own graph the target takes
    #[arg(long, conflicts_with_all = ["shapes", "output"])]
    check: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Target {
    /// ONNX Runtime's CoreML provider, for Apple's GPU and Neural Engine
    Coreml,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Precision {
    /// Half precision; norms and softmax stay in f32
    F16,
    /// Single precision, twice the size
    F32,
}

/// What was written, and what CoreML takes of it.
#[derive(Serialize)]
struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<Manifest>,
    /// By file, the new ones.
    files: BTreeMap<String, Coverage>,
    /// Of the model's own graphs, by file; safetensors have none.
    source: BTreeMap<String, Coverage>,
}

pub(crate) fn run(args: &OptimizeArgs) -> Result<(), CliError> {
    let Target::Coreml = args.target;
    let files = args.model.find()?;
    let weights = files.weights(args.variant.as_deref())?;
    let graphs = weights.source.graphs()?;
    let source = coverages(&files, &graphs);
    let mut report = Report {
        manifest: None,
        files: BTreeMap::new(),
        source,
    };
    if let Some(dir) = args.output.as_deref().filter(|_| !args.check) {
        let decoder = decoder(&files, &weights, &graphs)?;
        // Half a model would be left behind otherwise.
        coreml::check_shapes(&decoder.decoder_config(), &args.shapes)
            .map_err(CliError::Optimize)?;
        let manifest = write(args, &files, &weights, &decoder, dir)?;
        let written = coreml::read(&dir.join(coreml::MANIFEST))?;
        let written: Vec<OnnxModel> = written.graphs.into_iter().map(|g| g.model).collect();
        report.files = coverages(&files, &written);
        report.manifest = Some(manifest);
    } else if report.source.is_empty() {
        return Err(CliError::Usage(format!(
            "{} has no graph to check",
            name(&files, &weights)
        )));
    }
    match args.json {
        true => print_json(&report),
        false => print(&text(&report)),
    }
}

/// What CoreML takes of each graph, by its file.
pub(super) fn coverages(files: &ModelFiles, graphs: &[OnnxModel]) -> BTreeMap<String, Coverage> {
    let named = graphs.iter().map(|graph| {
        let path = graph.path().map(|path| path.display().to_string());
        let name = path.unwrap_or_else(|| files.id().to_owned());
        (name, coreml::coverage(graph))
    });
    named.collect()
}

/// The weights' own name.
fn name(files: &ModelFiles, weights: &Weights) -> String {
    let path = weights.source.path().and_then(Path::file_name);
    path.map_or_else(
        || format!("{} {}", files.id(), weights.variant),
        |name| name.to_string_lossy().into_owned(),
    )
}

fn decoder(
    files: &ModelFiles,
    weights: &Weights,
    graphs: &[OnnxModel],
) -> Result<Transformer, CliError> {
    let config = files.decoder_config().map_err(CliError::Optimize)?;
    let decoder = match (&weights.source, graphs, config) {
        (WeightsSource::CoreMl(_), ..) => {
            return Err(CliError::Usage(
                "these files were written for CoreML already: name the model that they are from"
                    .to_owned(),
            ));
        }
        (WeightsSource::Safetensors(path), _, Some(config)) => {
            decoder_from_safetensors(path, &config)
        }
        (_, [graph], config) => recognise(graph, config.as_ref()),
        _ => {
            return Err(CliError::Embed(EmbedError::MissingFile {
                model: files.id().to_owned(),
                file: "config.json".to_owned(),
            }));
        }
    };
    decoder.map_err(CliError::Optimize)
}

fn write(
    args: &OptimizeArgs,
    files: &ModelFiles,
    weights: &Weights,
    decoder: &Transformer,
    dir: &Path,
) -> Result<Manifest, CliError> {
    fs::create_dir_all(dir).map_err(|e| unwritten(dir, e))?;
    copy_companions(files, dir)?;
    let options = WriteOptions {
        precision: match args.precision {
            Precision::F16 => coreml::Precision::F16,
            Precision::F32 => coreml::Precision::F32,
        },
        shapes: args.shapes.clone(),
        source: name(files, weights),
    };
    coreml::write(decoder, &options, dir).map_err(CliError::Optimize)
}

/// Copies settings and tokenizer to `dir`, unless that is where they are.
fn copy_companions(files: &ModelFiles, dir: &Path) -> Result<(), CliError> {
    let same = |a: &Path, b: &Path| {
        let (a, b) = (a.canonicalize().ok(), b.canonicalize().ok());
        a.is_some() && a == b
    };
    // The manifest and the graphs of an earlier run, whole or not.
    let graphs = |entry: fs::DirEntry| entry.file_name().to_string_lossy().starts_with("coreml");
    let mut entries = fs::read_dir(dir).map_err(|e| unwritten(dir, e))?.flatten();
    let ours = entries.any(graphs);
    for name in files.companions()? {
        let to = dir.join(&name);
        if same(Path::new(&files.label(&name)), &to) {
            continue;
        }
        let Some(bytes) = files.read(&name)? else {
            continue;
        };
        if read_regular_file(&to, bytes.len() as u64).is_ok_and(|there| there == *bytes) {
            continue;
        }
        if to.exists() && !ours {
            return Err(CliError::Usage(format!(
                "{} is there already, and not of files for CoreML: name another directory",
                to.display()
            )));
        }
        // What was written for a model with other settings must not be found with these.
        let manifest = dir.join(coreml::MANIFEST);
        match fs::remove_file(&manifest) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(unwritten(&manifest, e)),
            _ => {}
        }
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).map_err(|e| unwritten(parent, e))?;
        }
        fs::write(&to, bytes).map_err(|e| unwritten(&to, e))?;
    }
    Ok(())
}

fn unwritten(path: &Path, source: std::io::Error) -> CliError {
    CliError::Write {
        to: path.display().to_string(),
        source,
    }
}

fn text(report: &Report) -> String {
    let shown = |coverages: &BTreeMap<String, Coverage>| -> String {
        let coverages = coverages.iter();
        coverages
            .map(|(file, coverage)| format!("{file}: {coverage}"))
            .collect()
    };
    let mut text = shown(&report.files);
    if !report.files.is_empty() && !report.source.is_empty() {
        text.push_str("\nThe model's own graphs, which CoreML would run less well:\n");
    }
    text.push_str(&shown(&report.source));
    text.push_str("judged by ONNX Runtime's documentation, not by running CoreML\n");
    text
}
