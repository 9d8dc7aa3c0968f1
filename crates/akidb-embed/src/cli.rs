//! The commands, and what holds for all of them.

use std::ffi::OsString;
use std::io::{IsTerminal, stderr};

use clap::{Arg, ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};
use tracing_subscriber::filter::LevelFilter;

use akidb_embedding::env;

use crate::commands::{
    bench, completions, doctor, embed, inspect, man, models, optimize, rerank, run, serve,
    similarity, validate, verify,
};
use crate::error::{CliError, SUCCESS};
use crate::message::be_quiet;

/// Text to vectors with Qwen3-Embedding and other ONNX models.
#[derive(Debug, Parser)]
#[command(
    name = "akidb-embed",
    version,
    before_help = "\
Examples:
  akidb-embed embed \"how do I resume a download\"
  akidb-embed serve --port 8080",
    after_help = environment()
)]
struct Cli {
    /// Say nothing but errors
    #[arg(long, short, global = true)]
    quiet: bool,

    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Command {
    /// Turn texts into vectors
    Embed(embed::EmbedArgs),
    /// Rank documents for a query, the best first
    Rerank(rerank::RerankArgs),
    /// Turn a corpus of files into vectors, exactly once
    Run(run::CorpusArgs),
    /// Show how similar texts are to each other
    Similarity(similarity::SimilarityArgs),
    /// Answer over the network
    Serve(serve::ServeArgs),
    /// Fetch, list, check and remove models
    Models(models::ModelsArgs),
    /// Start here when something is wrong: this machine, and of a model a line each of what inspect,
    /// validate, models verify and verify say
    Doctor(doctor::DoctorArgs),
    /// Show what is inside a model, and what runs it
    Inspect(inspect::InspectArgs),
    /// Check a model's files: are they whole, do they agree, does anything run them
    Validate(validate::ValidateArgs),
    /// Check a model's vectors: are they right
    Verify(verify::VerifyArgs),
    /// Measure how fast a model runs here
    Bench(bench::BenchArgs),
    /// Write files of a model that other hardware can run
    Optimize(optimize::OptimizeArgs),
    /// Print what makes a shell complete this program's arguments
    Completions(completions::CompletionsArgs),
    /// Write manual pages into a directory
    #[command(hide = true)]
    Man(man::ManArgs),
}

/// What stands before options in each command's help: what it does, and examples.
const HELP_TEMPLATE: &str = "\
{about-with-newline}
{before-help}{usage-heading} {usage}

{all-args}{after-help}";

fn environment() -> String {
    let mut help = String::from("Environment:\n");
    for variable in env::ALL {
        help.push_str(&format!("  {:<15} {}\n", variable.name, variable.doc));
    }
    help
}

/// The commands as they are parsed and shown.
fn command() -> clap::Command {
    with_help(Cli::command())
}

/// Short help is all the help there is: one screen, and no blank line after each option.
fn with_help(command: clap::Command) -> clap::Command {
    let help = Arg::new("help")
        .long("help")
        .short('h')
        .help("Print help")
        .action(ArgAction::HelpShort);
    command
        .help_template(HELP_TEMPLATE)
        .disable_help_flag(true)
        .mut_args(with_negative_numbers)
        .arg(help)
        .mut_subcommands(with_help)
}

/// An option's `-1` is a wrong number, and no option that is called so.
fn with_negative_numbers(arg: Arg) -> Arg {
    let is_option = arg.get_long().is_some() && arg.get_action().takes_values();
    arg.allow_negative_numbers(is_option)
}

/// Runs the program and gives its exit status.
pub(crate) fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let matches = command().try_get_matches_from(arguments);
    let cli = matches.and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches));
    match cli.map_err(|error| error.format(&mut command())) {
        Ok(cli) => run(cli).map_or_else(|error| error.report(), |()| SUCCESS),
        Err(error) => {
            // Where that fails there is nobody to tell.
            let _ = error.print();
            u8::try_from(error.exit_code()).unwrap_or(u8::MAX)
        }
    }
}

fn run(cli: Cli) -> Result<(), CliError> {
    let level = env::AKIDB_LOG.get().map(|level| level.parse());
    let level: Option<LevelFilter> = level.transpose().map_err(|error| {
        let name = env::AKIDB_LOG.name;
        CliError::Usage(format!("{name}: {error}"))
    })?;
    let level = match cli.quiet {
        true => Some(level.map_or(LevelFilter::ERROR, |level| level.min(LevelFilter::ERROR))),
        false => level,
    };
    if level.is_some_and(|level| level < LevelFilter::WARN) {
        be_quiet();
    }
    // The server sees to its log lines itself.
    if !matches!(cli.command, Command::Serve(_)) {
        tracing_subscriber::fmt()
            .with_max_level(level.unwrap_or(LevelFilter::WARN))
            .with_writer(stderr)
            .with_ansi(stderr().is_terminal())
            .with_target(false)
            .without_time()
            .init();
    }
    match cli.command {
        Command::Embed(args) => embed::run(&args),
        Command::Rerank(args) => rerank::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Similarity(args) => similarity::run(&args),
        Command::Serve(args) => serve::run(&args, level),
        Command::Models(args) => models::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Validate(args) => validate::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Optimize(args) => optimize::run(&args),
        Command::Completions(args) => completions::run(&args, &mut command()),
        Command::Man(args) => man::run(&args, command()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of a line as a shell has them, up to where it goes on elsewhere.
    fn words(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let (mut quoted, mut started) = (false, false);
        for c in line.chars() {
            match c {
                '"' => (quoted, started) = (!quoted, true),
                ' ' if !quoted => {
                    if started {
                        words.push(String::new());
                    }
                    started = false;
                }
                '<' | '|' | '>' if !quoted => break,
                c => {
                    started = true;
                    words.last_mut().unwrap().push(c);
                }
            }
        }
        words.retain(|word| !word.is_empty());
        words
    }

    fn all(command: clap::Command, path: &str, found: &mut Vec<(String, clap::Command)>) {
        for sub in command.get_subcommands() {
            all(sub.clone(), &format!("{path} {}", sub.get_name()), found);
        }
        found.push((path.to_owned(), command));
    }

    #[test]
    fn every_help_begins_with_two_examples_that_work() {
        let mut commands = Vec::new();
        all(command(), "akidb-embed", &mut commands);
        assert!(commands.len() > 18, "{}", commands.len());
        for (path, mut command) in commands {
            let help = command.render_help().to_string();
            let mut lines = help.lines().skip_while(|line| !line.is_empty()).skip(1);
            assert_eq!(lines.next(), Some("Examples:"), "{path}\n{help}");
            let examples: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
            assert!(examples.len() >= 2, "{path}\n{help}");
            for example in examples {
                let example = example.trim();
                assert!(example.starts_with(&path), "{path}: {example}");
                let parsed = super::command().try_get_matches_from(words(example));
                let parsed = parsed.and_then(|mut m| Cli::from_arg_matches_mut(&mut m));
                assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
            }
        }
    }

    #[test]
    fn arguments_are_declared_as_clap_wants_them() {
        command().debug_assert();
    }
}
