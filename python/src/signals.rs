//! Ctrl-C while Python waits.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use crate::failure::{Failure, Stop};

/// How often Python is asked for signals: a person doesn't notice, and other threads of Python don't
/// either.
const EVERY: Duration = Duration::from_millis(50);

/// Asks Python for signals now and then, on a thread that isn't attached to it.
pub(crate) struct Signals {
    next: Instant,
    waker: Waker,
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Signals {
    pub(crate) fn new() -> Self {
        Self {
            next: Instant::now() + EVERY,
            waker: Arc::new(Unpark(thread::current())).into(),
        }
    }

    /// Runs what Python has to run for signals that came, and says whether it was time to look. An error
    /// is a signal's: the work is to end.
    pub(crate) fn check(&mut self) -> PyResult<bool> {
        let now = Instant::now();
        if now < self.next {
            return Ok(false);
        }
        self.next = now + EVERY;
        Python::attach(|py| py.check_signals())?;
        Ok(true)
    }

    /// Starts a future, so that it goes on by itself.
    pub(crate) fn poll<F: Future + ?Sized>(&self, future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(&self.waker))
    }

    /// Does work that can't be interrupted on another thread. A signal's exception ends the waiting; the
    /// work then goes on to its end by itself.
    pub(crate) fn apart<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Stop> {
        let (tell, done) = channel();
        let thread = thread::Builder::new().name("akidb-apart".to_owned());
        let started = thread.spawn(move || {
            // Nobody listens after an interrupt.
            let _ = tell.send(work());
        });
        let failed = |why: String| Failure::new("BackendError", why);
        started.map_err(|error| failed(format!("the system gives no thread: {error}")))?;
        loop {
            match done.recv_timeout(EVERY) {
                Ok(value) => return Ok(value),
                Err(RecvTimeoutError::Timeout) => {
                    self.check()?;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(failed("a thread has ended unexpectedly".to_owned()).into());
                }
            }
        }
    }

    /// Waits for a future.
    pub(crate) fn wait<F: Future + ?Sized>(
        &mut self,
        mut future: Pin<&mut F>,
    ) -> PyResult<F::Output> {
        loop {
            if let Poll::Ready(output) = self.poll(future.as_mut()) {
                return Ok(output);
            }
            thread::park_timeout(self.next.saturating_duration_since(Instant::now()));
            self.check()?;
        }
    }
}
