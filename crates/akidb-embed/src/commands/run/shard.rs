//! Which part of the work is this process's.

use std::str::FromStr;

use akidb_bulk::corpus::Shard;
use akidb_embedding::env::{
    JOB_COMPLETION_INDEX, SLURM_ARRAY_TASK_COUNT, SLURM_ARRAY_TASK_ID, SLURM_ARRAY_TASK_MIN,
    Variable,
};

use crate::error::CliError;

/// `2/8`, `auto` or `auto/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShardArgument {
    Given(Shard),
    /// As Slurm says.
    Auto,
    /// Of so many, as Slurm or Kubernetes says.
    AutoOf(usize),
}

impl FromStr for ShardArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "it must be I/N as in 2/8, auto, or auto/N".to_owned();
        let number = |text: &str| text.parse().map_err(|_| wrong());
        match text.split_once('/') {
            None if text == "auto" => Ok(Self::Auto),
            Some(("auto", count)) => Ok(Self::AutoOf(number(count)?)),
            Some(_) => {
                let shard: Result<Shard, _> = text.parse();
                shard.map(Self::Given).map_err(|error| error.to_string())
            }
            None => Err(wrong()),
        }
    }
}

impl ShardArgument {
    /// The part that is meant.
    pub(super) fn get(&self) -> Result<Shard, CliError> {
        self.get_from(|variable| variable.get())
    }

    fn get_from(&self, value: impl Fn(Variable) -> Option<String>) -> Result<Shard, CliError> {
        let number = |variable: Variable| -> Result<Option<usize>, CliError> {
            let wrong = |text| CliError::Usage(format!("{}: {text:?} is no number", variable.name));
            let text = value(variable);
            text.map(|text| text.parse().map_err(|_| wrong(text)))
                .transpose()
        };
        let slurm = || -> Result<Option<usize>, CliError> {
            let first = number(SLURM_ARRAY_TASK_MIN)?.unwrap_or_default();
            let task = number(SLURM_ARRAY_TASK_ID)?;
            Ok(task.map(|task| task.saturating_sub(first)))
        };
        let (index, count) = match *self {
            Self::Given(shard) => return Ok(shard),
            Self::Auto => (slurm()?, number(SLURM_ARRAY_TASK_COUNT)?),
            Self::AutoOf(count) => (slurm()?.or(number(JOB_COMPLETION_INDEX)?), Some(count)),
        };
        let (Some(index), Some(count)) = (index, count) else {
            return Err(CliError::Usage(match self {
                Self::Auto => "--shard auto: there is no array of Slurm (SLURM_ARRAY_TASK_ID and \
                               SLURM_ARRAY_TASK_COUNT are not set); name the part, as in --shard 2/8",
                _ => "--shard auto/N: neither SLURM_ARRAY_TASK_ID nor JOB_COMPLETION_INDEX is set; name \
                      the part, as in --shard 2/8",
            }
            .to_owned()));
        };
        Ok(Shard::new(index.saturating_add(1), count)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(argument: &str, set: &[(Variable, &str)]) -> Option<String> {
        let argument: ShardArgument = argument.parse().ok()?;
        let value = |variable: Variable| {
            let found = set.iter().find(|(other, _)| other.name == variable.name);
            found.map(|(_, value)| (*value).to_owned())
        };
        argument.get_from(value).ok().map(|shard| shard.to_string())
    }

    #[test]
    fn the_part_is_named_or_the_scheduler_s() {
        let slurm = [
            (SLURM_ARRAY_TASK_ID, "3"),
            (SLURM_ARRAY_TASK_MIN, "1"),
            (SLURM_ARRAY_TASK_COUNT, "4"),
        ];
        let job = [(JOB_COMPLETION_INDEX, "0")];
        for (argument, set, expected) in [
            ("2/8", &slurm[..], Some("2/8")),
            ("auto", &slurm, Some("3/4")),
            ("auto/9", &slurm, Some("3/9")),
            ("auto/9", &job, Some("1/9")),
            ("auto", &job, None),
            ("auto", &[], None),
            ("auto/9", &[], None),
            ("auto/3", &[(JOB_COMPLETION_INDEX, "3")], None),
            ("auto/3", &[(JOB_COMPLETION_INDEX, "x")], None),
            ("0/8", &[], None),
            ("9/8", &[], None),
            ("8", &[], None),
            ("/", &[], None),
        ] {
            assert_eq!(get(argument, set).as_deref(), expected, "{argument}");
        }
    }
}
