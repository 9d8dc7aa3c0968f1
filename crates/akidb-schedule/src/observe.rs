//! Who is told of passes.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use crate::request::Class;

/// A pass that begins.
#[derive(Debug)]
pub struct PassStart {
    /// The engine's name.
    pub engine: Arc<str>,
    /// How urgent its items are.
    pub class: Class,
    /// How long each of its items has waited.
    pub waited: Vec<Duration>,
    /// Their tokens.
    pub tokens: usize,
}

/// Is told of each pass, for metrics.
pub trait Observer: Debug + Send + Sync {
    /// A pass begins.
    fn started(&self, pass: &PassStart);

    /// A pass of the engine of that name has ended.
    fn ended(&self, engine: &Arc<str>, took: Duration);
}

/// Nobody is told.
impl Observer for () {
    fn started(&self, _: &PassStart) {}

    fn ended(&self, _: &Arc<str>, _: Duration) {}
}
