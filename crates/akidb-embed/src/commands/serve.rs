//! `serve`: the library over the network.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use clap::Args;

use akidb_embedding::BUILTIN_MODEL;
use akidb_server::{EmbeddingService, ModelSettings, Settings};

use crate::args::RunArgs;
use crate::error::CliError;

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Model id, model directory, or .onnx or .safetensors file; several times for several models,
    /// the first answers requests that name none
    #[arg(long = "model", short, value_name = "MODEL", default_value = BUILTIN_MODEL)]
    models: Vec<String>,

    #[command(flatten)]
    run: RunArgs,

    /// Address to listen on
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), value_name = "ADDRESS")]
    host: IpAddr,

    /// Port to listen on
    #[arg(long, default_value_t = 8080, value_name = "PORT")]
    port: u16,
}

pub(crate) fn run(args: &ServeArgs) -> Result<(), CliError> {
    let builder = args.run.builder()?;
    let models = args.models.iter().map(|model| ModelSettings {
        name: model.clone(),
        builder: builder.clone().model(model),
    });
    let service = EmbeddingService::new(Settings {
        address: SocketAddr::new(args.host, args.port),
        models: models.collect(),
        ..Settings::default()
    })?;
    let runtime = tokio::runtime::Runtime::new().map_err(CliError::Runtime)?;
    runtime.block_on(akidb_server::serve(Arc::new(service)))?;
    Ok(())
}
