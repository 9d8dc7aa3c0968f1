//! Who is next, and with whom: one queue before engines that share the cores.
//!
//! An [`Engine`] computes items; several at once, in a pass, are cheaper than one after the other.
//! Callers give a [`Scheduler`] what they want computed ([`Work`]), each for itself, and it fills
//! passes from all of them: as much as fits a pass's time by what it has learned of the engine's
//! speed. Equal items are computed once. Interactive work goes before bulk work, which has a fifth
//! of the time; clients of one class have equal shares. Who would wait too long is refused at once,
//! and whose future is dropped leaves the queue.
//!
//! Nothing here needs an async runtime: passes run on a thread of the scheduler's own, and
//! [`Deadlines`] has another.
#![forbid(unsafe_code)]

mod deadlines;
mod engine;
mod error;
mod fair;
#[cfg(test)]
mod fake;
mod observe;
mod pass;
mod queue;
mod recent;
mod request;
mod results;
mod scheduler;
mod speed;
mod warm_up;

pub use deadlines::Deadlines;
pub use engine::Engine;
pub use error::ScheduleError;
pub use observe::{Observer, PassStart};
pub use queue::{ClassStats, PassLimits};
pub use request::{Class, Done, EngineId, Work};
pub use scheduler::{ScheduleStats, Scheduler};
pub use speed::Speed;
