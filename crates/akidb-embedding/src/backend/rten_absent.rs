//! A program without RTen.

use akidb_backend::{Backend, BackendError};

use super::options::BackendOptions;
use crate::error::EmbedError;
use crate::model::{Settings, Weights};

pub(crate) fn load(
    _: &Weights,
    _: &Settings,
    _: &BackendOptions,
) -> Result<Result<Box<dyn Backend>, BackendError>, EmbedError> {
    Err(EmbedError::FeatureMissing {
        what: "RTen".to_owned(),
        feature: "rten",
    })
}
