//! `serve`: the library over the network.

mod flags;
mod model;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tracing_subscriber::filter::LevelFilter;

use akidb_embedding::env;
use akidb_server::{EmbeddingService, Layers, LogFormat, ModelSettings, Server, Telemetry};

use crate::args::RunArgs;
use crate::commands::verify::{Comparisons, prove};
use crate::error::CliError;
use crate::message::{is_watched, message};
use crate::print::print;
use flags::SettingFlags;
use model::{RUN_VARIABLES, Served};

#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  akidb-embed serve
  akidb-embed serve -m qwen3-embedding-0.6b -m mini=akidb-mini --host 0.0.0.0 --api-keys keys",
    after_help = "\
Every setting can stand in three places: in the file that --config names, by its name with \
underscores (max_connections = 100); in the environment, in capitals after AKIDB_SERVE_ \
(AKIDB_SERVE_MAX_CONNECTIONS=100); as a flag. Flags go over the environment, and that over the file. \
Lengths of time are such as 30s, 500ms or 2m, bytes such as 512KiB or 32MiB. How models are run \
(--variant or AKIDB_SERVE_VARIANT, and so --backend, --precision, --threads) stands in the file in each \
model's own table ([[model]], with model = \"ID\").

SIGTERM and SIGINT stop the server after it has finished what it accepted, a second one at once. \
SIGHUP reads API keys and certificate anew."
)]
pub(crate) struct ServeArgs {
    /// Model id, model directory, or .onnx or .safetensors file, and the name that requests call it
    /// by; several times for several models, the first answers requests that name none [default:
    /// AKIDB_MODEL, else what `models default` has set, else the built-in akidb-mini; env:
    /// AKIDB_SERVE_MODEL]
    #[arg(long = "model", short, value_name = "[NAME=]MODEL")]
    models: Vec<String>,

    /// Look at each model's vectors first, as `verify` does, and don't serve wrong ones
    #[arg(long)]
    verify: bool,

    /// Settings file, in TOML [env: AKIDB_SERVE_CONFIG]
    #[arg(long, value_name = "FILE", help_heading = "Settings")]
    config: Option<PathBuf>,

    /// Print all settings and where each comes from, as a settings file, and end
    #[arg(long, help_heading = "Settings")]
    print_config: bool,

    #[command(flatten)]
    settings: SettingFlags,

    #[command(flatten)]
    run: RunArgs,
}

const CONFIG: &str = env::AKIDB_SERVE_CONFIG.name;
const MODEL: &str = env::AKIDB_SERVE_MODEL.name;

pub(crate) fn run(args: &ServeArgs, level: Option<LevelFilter>) -> Result<(), CliError> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let mut layers = Layers::default();
    let mut models = Vec::new();
    let config = args
        .config
        .clone()
        .or_else(|| variable(CONFIG).map(PathBuf::from));
    if let Some(path) = &config {
        let others = layers.file(path, &["model"])?;
        if let Some(value) = others.get("model") {
            models = model::from_file(value, path)?;
        }
    }
    // Names and values that aren't Unicode are nobody's settings.
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let others = [&[CONFIG, MODEL], &RUN_VARIABLES[..]].concat();
    layers.environment(variables, &others)?;
    let parse = |model: &str| Served::parse(model.trim()).map_err(CliError::Usage);
    if let Some(value) = variable(MODEL) {
        models = value.split(',').map(parse).collect::<Result<_, _>>()?;
    }
    for (setting, value) in &args.settings.0 {
        layers.flag(setting, value)?;
    }
    if !args.models.is_empty() {
        let given = args.models.iter().map(|model| parse(model));
        models = given.collect::<Result<_, _>>()?;
    }
    if models.is_empty() {
        models.push(parse(&model::default()?)?);
    }
    let run = args.run.run.or(&model::run_from_environment(variable)?);
    for model in &mut models {
        model.run = run.or(&model.run);
    }
    if args.print_config {
        let models = toml::Value::Array(models.iter().map(Served::to_toml).collect());
        return print(&format!("model = {models}\n\n{}", layers.to_toml()));
    }

    let builder = args.run.onnxruntime_builder()?;
    let mut settings = layers.settings;
    let models = models.iter().map(|model| model.settings(&builder));
    settings.models = models.collect();
    if args.verify {
        verify(&settings.models)?;
    }
    let runtime = tokio::runtime::Runtime::new().map_err(CliError::Runtime)?;
    let telemetry = {
        let _context = runtime.enter();
        Telemetry::start(&settings, level.unwrap_or(LevelFilter::INFO))?
    };
    let says = settings.log_format == LogFormat::Human;
    let service = Arc::new(EmbeddingService::new(settings)?);
    let result = runtime.block_on(async {
        let server = Server::bind(service).await?;
        // One of the two: for people, or for what reads logs.
        match says {
            true => greet(&server),
            false => tracing::info!(address = server.address(), "listening"),
        }
        server.run().await
    });
    // Loading a model can't be interrupted: the process doesn't wait for it.
    runtime.shutdown_timeout(Duration::from_millis(100));
    drop(telemetry);
    Ok(result?)
}

/// Looks at the vectors of each model.
fn verify(models: &[ModelSettings]) -> Result<(), CliError> {
    for model in models {
        message(format_args!("looking at the vectors of {} …", model.name));
        if !prove(&model.builder, Comparisons::Enough)?.right {
            return Err(CliError::WrongVectors(model.name.clone()));
        }
    }
    Ok(())
}

/// Says where the server is and how to try it; shows on a terminal that the model is being loaded.
fn greet(server: &Server) {
    let address = server.address();
    let names: Vec<&str> = server.service().model_names().collect();
    let settings = server.service().settings();
    let connect = match &settings.unix_socket {
        Some(path) => format!("--unix-socket '{}' http://localhost", path.display()),
        None => address
            .replace("0.0.0.0", "127.0.0.1")
            .replace("[::]", "[::1]"),
    };
    let insecure = if settings.tls_cert.is_some() {
        "-k "
    } else {
        ""
    };
    let key = match settings.api_keys {
        Some(_) => " -H 'authorization: Bearer KEY'",
        None => "",
    };
    message(format_args!("listening on {address}, HTTP and gRPC"));
    message(format_args!("models: {}", names.join(", ")));
    message(format_args!(
        "try: curl {insecure}{connect}/v1/embeddings{key} -H 'content-type: application/json' -d '{{\"input\":\"a text\"}}'"
    ));
    if !is_watched() {
        return;
    }
    let name = names.first().copied().unwrap_or_default().to_owned();
    let ready = server.ready();
    tokio::spawn(async move {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}  {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        bar.set_message(format!("loading {name}"));
        ready.await;
        bar.finish_and_clear();
        message(format_args!("{name} is ready"));
    });
}
