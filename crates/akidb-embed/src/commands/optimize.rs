//! `optimize`: new files of a model, for hardware that can't run the published ones.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;

use akidb_onnx::Error;
use akidb_onnx::coreml::{self, Coverage, Manifest, StaticShape, WriteOptions};
use akidb_onnx::decoder::{Decoder, DecoderConfig, decoder_from_safetensors, recognise};
use akidb_onnx::model::OnnxModel;

use crate::error::CliError;

#[derive(Debug, Args)]
pub(crate) struct OptimizeArgs {
    /// A model directory, or its .onnx or .safetensors file
    model: PathBuf,

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
    /// Of the model's own graph, where it is ONNX.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Coverage>,
}

pub(crate) fn run(args: &OptimizeArgs) -> Result<(), CliError> {
    let Target::Coreml = args.target;
    let source = Source::find(&args.model)?;
    let graph = match source.is_onnx() {
        true => Some(OnnxModel::open(&source.weights)?),
        false => None,
    };
    let mut report = Report {
        manifest: None,
        files: BTreeMap::new(),
        source: graph.as_ref().map(coreml::coverage),
    };
    if let Some(dir) = args.output.as_deref().filter(|_| !args.check) {
        let decoder = source.decoder(graph.as_ref()).map_err(CliError::Optimize)?;
        let manifest = write(args, &source, &decoder, dir)?;
        for file in manifest.shapes.iter().map(|shape| &shape.file) {
            let written = OnnxModel::open(&dir.join(file))?;
            report
                .files
                .insert(file.clone(), coreml::coverage(&written));
        }
        report.manifest = Some(manifest);
    } else if report.source.is_none() {
        return Err(CliError::Usage(format!(
            "{} has no graph to check",
            source.weights.display()
        )));
    }
    print(args, &source, &report).map_err(CliError::stdout)
}

fn write(
    args: &OptimizeArgs,
    source: &Source,
    decoder: &Decoder,
    dir: &Path,
) -> Result<Manifest, CliError> {
    fs::create_dir_all(dir).map_err(|e| unwritten(dir, e))?;
    source.copy_beside(dir)?;
    let options = WriteOptions {
        precision: match args.precision {
            Precision::F16 => coreml::Precision::F16,
            Precision::F32 => coreml::Precision::F32,
        },
        shapes: args.shapes.clone(),
        source: source.name(),
    };
    coreml::write(decoder, &options, dir).map_err(CliError::Optimize)
}

fn print(args: &OptimizeArgs, source: &Source, report: &Report) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, report)?;
        return writeln!(out);
    }
    for (file, coverage) in &report.files {
        let dir = args.output.as_deref().unwrap_or(Path::new(""));
        write!(out, "{}: {coverage}", dir.join(file).display())?;
    }
    if let Some(coverage) = &report.source {
        write!(out, "{}: {coverage}", source.weights.display())?;
    }
    writeln!(
        out,
        "judged by ONNX Runtime's documentation, not by running CoreML"
    )
}

/// A model that new files are made of.
struct Source {
    /// Where config.json and the tokenizer are.
    root: PathBuf,
    weights: PathBuf,
}

impl Source {
    /// Weights of a directory, the most exact first.
    const WEIGHTS: [&str; 6] = [
        "onnx/model.onnx",
        "model.onnx",
        "model.safetensors",
        "model.safetensors.index.json",
        "onnx/model_fp16.onnx",
        "model_fp16.onnx",
    ];

    /// What goes with the weights, where it is there.
    const BESIDE: [&str; 9] = [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "config_sentence_transformers.json",
        "sentence_bert_config.json",
        "modules.json",
        "generation_config.json",
        "1_Pooling/config.json",
    ];

    fn find(path: &Path) -> Result<Self, CliError> {
        if path.is_dir() {
            let weights = Self::WEIGHTS.iter().map(|name| path.join(name));
            return match weights.into_iter().find(|weights| weights.is_file()) {
                Some(weights) => Ok(Self {
                    root: path.to_owned(),
                    weights,
                }),
                None => Err(CliError::Usage(format!(
                    "{} has none of {}: name the file itself",
                    path.display(),
                    Self::WEIGHTS.join(", ")
                ))),
            };
        }
        let parent = path.parent().unwrap_or(Path::new(""));
        let above = parent.join("..");
        let root = match parent.join("config.json").is_file() {
            false if above.join("config.json").is_file() => above,
            _ if parent == Path::new("") => PathBuf::from("."),
            _ => parent.to_owned(),
        };
        Ok(Self {
            root,
            weights: path.to_owned(),
        })
    }

    fn is_onnx(&self) -> bool {
        let name = self.name();
        !(name.ends_with(".safetensors") || name.ends_with(".json"))
    }

    fn name(&self) -> String {
        let name = self.weights.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    fn decoder(&self, graph: Option<&OnnxModel>) -> Result<Decoder, Error> {
        let config = DecoderConfig::open(&self.root.join("config.json"))?;
        match graph {
            Some(graph) => recognise(graph, Some(&config)),
            // An index lies in the directory that it is for.
            None if self.name().ends_with(".json") => decoder_from_safetensors(&self.root, &config),
            None => decoder_from_safetensors(&self.weights, &config),
        }
    }

    /// Copies configuration and tokenizer to `dir`, unless that is where they are.
    fn copy_beside(&self, dir: &Path) -> Result<(), CliError> {
        let same = |a: &Path, b: &Path| a.canonicalize().ok() == b.canonicalize().ok();
        if same(&self.root, dir) {
            return Ok(());
        }
        for name in Self::BESIDE {
            let (from, to) = (self.root.join(name), dir.join(name));
            if !from.is_file() {
                continue;
            }
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent).map_err(|e| unwritten(parent, e))?;
            }
            let bytes = fs::read(&from).map_err(|source| CliError::Read { path: from, source })?;
            fs::write(&to, bytes).map_err(|e| unwritten(&to, e))?;
        }
        Ok(())
    }
}

fn unwritten(path: &Path, source: std::io::Error) -> CliError {
    CliError::Write {
        to: path.display().to_string(),
        source,
    }
}
