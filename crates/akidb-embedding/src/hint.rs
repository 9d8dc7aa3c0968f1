//! What would help.

use std::fmt;

/// What would help where something failed. `Display` has words that fit any program; one with commands
/// or options for it names these.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hint {
    /// To fetch the model by this name.
    Pull {
        /// The name.
        model: String,
    },
    /// To name a model directory, a file or one of the models that are known.
    Name {
        /// Their ids.
        known: Vec<String>,
        /// What was named, where it may be a model of the hub.
        on_hub: Option<String>,
        /// The model that may have been meant.
        similar: Option<String>,
    },
    /// To say which of the installed models is meant.
    NameOne,
    /// To say which of the graph's outputs is the embedding.
    NameOutput,
    /// To look into the model's file.
    Inspect,
    /// To have texts that are too long cut.
    AllowTruncation,
    /// What it says.
    Other(String),
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pull { model } => write!(f, "{model} can be fetched"),
            Self::Name {
                known,
                on_hub,
                similar,
            } => {
                if let Some(model) = similar {
                    write!(f, "did you mean {model}? else ")?;
                }
                if let Some(model) = on_hub {
                    write!(f, "the hub may have {model}; else ")?;
                }
                let known = known.join(", ");
                write!(
                    f,
                    "name a model directory, an .onnx file, or one of: {known}"
                )
            }
            Self::NameOne => f.write_str("name one of them"),
            Self::NameOutput => f.write_str("name the output that is the embedding"),
            Self::Inspect => f.write_str("look into the file; fetch it again if it is damaged"),
            Self::AllowTruncation => f.write_str("shorten the text, or allow truncation"),
            Self::Other(words) => f.write_str(words),
        }
    }
}

impl From<String> for Hint {
    fn from(words: String) -> Self {
        Self::Other(words)
    }
}

impl From<&str> for Hint {
    fn from(words: &str) -> Self {
        Self::Other(words.to_owned())
    }
}
