//! `validate`: is a model whole, and do its files agree?

use std::collections::HashSet;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use akidb_onnx::inspect::{Architecture, Content, Inspection, ModelFile, TensorFile, inspect};
use akidb_onnx::model::OnnxModel;
use akidb_onnx::validate::{Finding, Severity, validate};

use crate::error::CliError;

/// Largest JSON file that is read, in bytes; tokenizers have up to 35 MB.
const MAX_JSON_BYTES: u64 = 128 << 20;

#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// A model directory, or an .onnx or .safetensors file
    path: PathBuf,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Findings in one file.
#[derive(Serialize)]
struct FileFindings {
    path: PathBuf,
    findings: Vec<Finding>,
}

pub(crate) fn run(args: &ValidateArgs) -> Result<(), CliError> {
    let inspection = inspect(&args.path)?;
    let mut files: Vec<FileFindings> = inspection.files.iter().map(model_file).collect();
    if args.path.is_dir() {
        files.extend(directory(&args.path, &inspection));
    }
    print(args, &files).map_err(CliError::stdout)?;
    let all = files.iter().flat_map(|file| &file.findings);
    match all.filter(|f| f.severity == Severity::Error).count() {
        0 => Ok(()),
        errors => Err(CliError::Invalid { errors }),
    }
}

fn print(args: &ValidateArgs, files: &[FileFindings]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, files)?;
        return writeln!(out);
    }
    for file in files {
        if file.findings.is_empty() {
            writeln!(out, "{}: ok", file.path.display())?;
        }
        for finding in &file.findings {
            let severity = match finding.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Note => "note",
            };
            let path = file.path.display();
            writeln!(out, "{path}: {severity}: {}", finding.what)?;
            writeln!(out, "  {}", finding.hint)?;
        }
    }
    Ok(())
}

/// Graph, weights, and what they make.
fn model_file(file: &ModelFile) -> FileFindings {
    let mut findings = Vec::new();
    match &file.content {
        Content::Error(why) => findings.push(broken(why)),
        Content::Safetensors(tensors) => recognised(tensors, &mut findings),
        Content::Onnx(onnx) => {
            match OnnxModel::open(&file.path) {
                Ok(model) => findings.extend(validate(&model)),
                Err(error) => findings.push(broken(&error.to_string())),
            }
            recognised(&onnx.tensors, &mut findings);
        }
    }
    FileFindings {
        path: file.path.clone(),
        findings,
    }
}

fn broken(why: &str) -> Finding {
    Finding::new(Severity::Error, why, "download the file again")
}

fn recognised(tensors: &TensorFile, findings: &mut Vec<Finding>) {
    match &tensors.architecture {
        Architecture::Decoder(_) => {}
        Architecture::NotRecognised(why) => findings.push(Finding::new(
            Severity::Note,
            format!("not a decoder that the native engine knows: {why}"),
            "it may run on another backend",
        )),
        Architecture::Broken(why) => findings.push(broken(why)),
    }
    let disagreements = tensors.disagreements.iter();
    findings.extend(disagreements.map(|disagreement| {
        Finding::new(
            Severity::Error,
            disagreement.to_string(),
            "take config.json and the weights from one revision of the model",
        )
    }));
}

/// What goes with the weights.
fn directory(dir: &Path, inspection: &Inspection) -> Vec<FileFindings> {
    let mut config = Checked::open(dir, "config.json");
    if let Some(error) = inspection.config.as_ref().and_then(|c| c.error.as_ref()) {
        config.warn(error, "only a decoder of the Qwen3 family needs this");
    }
    let mut tokenizer = Checked::open(dir, "tokenizer.json");
    match tokenizer.json.take() {
        Some(json) => check_tokenizer(&json, config.json.as_ref(), &mut tokenizer),
        None => tokenizer.missing(
            Severity::Error,
            "download it: no text can be read without it",
        ),
    }
    if config.json.is_none() {
        config.missing(Severity::Error, "download it: it says what the model is");
    }
    let mut pooling = Checked::open(dir, "1_Pooling/config.json");
    match &pooling.json {
        None => pooling.missing(
            Severity::Warning,
            "without it a decoder is pooled by its last token; download it if the model has it",
        ),
        Some(json) => {
            let dimension = json["word_embedding_dimension"].as_u64();
            let hidden = config.number("hidden_size");
            if let (Some(dimension), Some(hidden)) = (dimension, hidden)
                && dimension != hidden
            {
                pooling.error(
                    format!(
                        "word_embedding_dimension is {dimension}, config.json says hidden_size \
                         {hidden}"
                    ),
                    "take both files from one revision of the model",
                );
            }
        }
    }
    let mut prompts = Checked::open(dir, "config_sentence_transformers.json");
    if prompts.json.is_none() {
        prompts.missing(
            Severity::Note,
            "without it the model has no prompts, or the published ones of its family",
        );
    }
    [config, tokenizer, pooling, prompts]
        .map(|checked| checked.file)
        .into()
}

/// Vocabulary, and the token that ends a text.
fn check_tokenizer(json: &Value, config: Option<&Value>, tokenizer: &mut Checked) {
    let added = json["added_tokens"].as_array();
    let added: Vec<u64> = added
        .into_iter()
        .flatten()
        .filter_map(|token| token["id"].as_u64())
        .collect();
    let vocab = json["model"]["vocab"].as_object();
    let ids: HashSet<u64> = vocab
        .into_iter()
        .flat_map(|vocab| vocab.values().filter_map(Value::as_u64))
        .chain(added)
        .collect();
    let number = |key: &str| config.and_then(|c| c[key].as_u64());
    if let (Some(&last), Some(vocab_size)) = (ids.iter().max(), number("vocab_size"))
        && last >= vocab_size
    {
        tokenizer.error(
            format!("it has token {last}, config.json says vocab_size {vocab_size}"),
            "take both files from one revision of the model",
        );
    }
    let Some(eos) = number("eos_token_id") else {
        return;
    };
    if !ids.is_empty() && !ids.contains(&eos) {
        tokenizer.error(
            format!("it has no token {eos}, which config.json calls eos_token_id"),
            "take both files from one revision of the model",
        );
    } else if config.is_some_and(|c| c["model_type"] == "qwen3")
        && !post_processor_adds(&json["post_processor"], eos)
    {
        tokenizer.findings().push(Finding::new(
            Severity::Note,
            format!("its post-processor does not add token {eos} at the end of a text"),
            "nothing: the token is appended where it is missing",
        ));
    }
}

/// True when a template anywhere in `post_processor` has token `id`.
fn post_processor_adds(post_processor: &Value, id: u64) -> bool {
    let in_template = post_processor["special_tokens"]
        .as_object()
        .is_some_and(|tokens| {
            let mut ids = tokens
                .values()
                .flat_map(|t| t["ids"].as_array().into_iter().flatten());
            ids.any(|found| found.as_u64() == Some(id))
        });
    let processors = post_processor["processors"].as_array();
    in_template
        || processors
            .into_iter()
            .flatten()
            .any(|inner| post_processor_adds(inner, id))
}

/// One JSON file and what was found in it.
struct Checked {
    json: Option<Value>,
    file: FileFindings,
}

impl Checked {
    fn open(dir: &Path, name: &str) -> Self {
        let path = dir.join(name);
        let mut findings = Vec::new();
        let json = match read_json(&path) {
            Ok(json) => json,
            Err(why) => {
                findings.push(broken(&why));
                None
            }
        };
        Self {
            json,
            file: FileFindings { path, findings },
        }
    }

    fn findings(&mut self) -> &mut Vec<Finding> {
        &mut self.file.findings
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.json.as_ref().and_then(|json| json[key].as_u64())
    }

    fn error(&mut self, what: impl Into<String>, hint: &str) {
        let finding = Finding::new(Severity::Error, what, hint);
        self.findings().push(finding);
    }

    fn warn(&mut self, what: &str, hint: &str) {
        let finding = Finding::new(Severity::Warning, what, hint);
        self.findings().push(finding);
    }

    /// Says that the file is not there, unless it is there and broken.
    fn missing(&mut self, severity: Severity, hint: &str) {
        if self.file.findings.is_empty() {
            let finding = Finding::new(severity, "is missing", hint);
            self.findings().push(finding);
        }
    }
}

/// The file's JSON, `None` when there is no such file; or why it can't be read.
fn read_json(path: &Path) -> Result<Option<Value>, String> {
    match fs::metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e.to_string()),
        Ok(metadata) if !metadata.is_file() => return Err("is not a regular file".to_owned()),
        Ok(_) => {}
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(|e| e.to_string())?;
    file.take(MAX_JSON_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| e.to_string())?;
    if bytes.len() as u64 > MAX_JSON_BYTES {
        return Err(format!("is longer than {MAX_JSON_BYTES} bytes"));
    }
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|e| format!("is not valid JSON: {e}"))
}
