//! One file a command.

mod bench;
mod doctor;
mod embed;
mod inspect;
mod models;
mod optimize;
mod serve;
mod similarity;
mod validate;
mod verify;

use clap::Subcommand;
use tracing_subscriber::filter::LevelFilter;

use crate::error::CliError;

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Turn texts into vectors
    Embed(embed::EmbedArgs),
    /// Show how similar texts are to each other
    Similarity(similarity::SimilarityArgs),
    /// Measure how fast a model runs here
    Bench(bench::BenchArgs),
    /// Show what this machine has, and how fast each backend runs a model here
    Doctor(doctor::DoctorArgs),
    /// Show what is inside a model
    Inspect(inspect::InspectArgs),
    /// Fetch, list, check and remove models
    Models(models::ModelsArgs),
    /// Prove that a model's vectors are right
    Verify(verify::VerifyArgs),
    /// Check that a model is whole and that its files agree
    Validate(validate::ValidateArgs),
    /// Write files of a model that other hardware can run
    Optimize(optimize::OptimizeArgs),
    /// Answer over the network
    Serve(serve::ServeArgs),
}

impl Command {
    /// Whether it sees to its log lines itself.
    pub(crate) fn logs_itself(&self) -> bool {
        matches!(self, Self::Serve(_))
    }
}

/// Runs one command; `level` is the log level, where the user names one.
pub(crate) fn run(command: Command, level: Option<LevelFilter>) -> Result<(), CliError> {
    match command {
        Command::Embed(args) => embed::run(&args),
        Command::Similarity(args) => similarity::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Models(args) => models::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Validate(args) => validate::run(&args),
        Command::Optimize(args) => optimize::run(&args),
        Command::Serve(args) => serve::run(&args, level),
    }
}
