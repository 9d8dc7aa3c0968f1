//! Files that are read anew while the server runs: API keys and the certificate.

use std::error::Error;
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::signals;
use super::tls::Tls;
use crate::middleware::Keys;

/// How often they are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// How long reading them takes where the file system answers.
const LIMIT: Duration = Duration::from_secs(10);

/// Reads the keys every two seconds and at SIGHUP, the certificate at SIGHUP, and again until it can
/// be used; doesn't end.
pub(super) async fn keep_fresh(keys: Option<Keys>, certificate: Option<Arc<Tls>>) {
    let mut signal = signals::Refresh::listen();
    let files = Arc::new(Mutex::new(Files {
        keys,
        certificate,
        certificate_due: false,
        keys_failure: None,
        certificate_failure: None,
        spare: spare(),
    }));
    loop {
        let hung_up = tokio::select! {
            () = signal.next() => true,
            () = tokio::time::sleep(LOOK) => false,
        };
        let files = Arc::clone(&files);
        let look = move || {
            let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
            files.certificate_due |= hung_up;
            files.read();
        };
        beside(LIMIT, look).await;
    }
}

/// Waits for `work` on a thread of its own, for which nothing else waits, nor the runtime or the
/// process when they end: a file system that doesn't answer can't be interrupted.
async fn beside(limit: Duration, work: impl FnOnce() + Send + 'static) {
    let (done, mut ended) = oneshot::channel::<()>();
    let thread = std::thread::Builder::new().name("akidb-files".to_owned());
    let thread = thread.spawn(move || {
        work();
        drop(done);
    });
    if let Err(error) = thread {
        tracing::error!(%error, "API keys and certificate can't be looked at");
        return;
    }
    if tokio::time::timeout(limit, &mut ended).await.is_err() {
        let seconds = limit.as_secs();
        tracing::error!(
            "API keys and certificate stay as they were: no answer from their files for {seconds} s"
        );
        // It is dropped, not sent to.
        let _ = ended.await;
    }
}

struct Files {
    keys: Option<Keys>,
    certificate: Option<Arc<Tls>>,
    /// Whether the certificate is to be read.
    certificate_due: bool,
    keys_failure: Option<String>,
    certificate_failure: Option<String>,
    /// Gives way to the file that is being read.
    spare: Option<File>,
}

impl Files {
    fn read(&mut self) {
        drop(self.spare.take());
        if let Some(keys) = &self.keys {
            tell(keys.refresh(), "the API keys", &mut self.keys_failure);
        }
        if let Some(certificate) = &self.certificate
            && self.certificate_due
        {
            let read = certificate.refresh();
            // Certificate and key may be replaced one after the other.
            self.certificate_due = read.is_err();
            let read = read.map(|()| true);
            tell(read, "the certificate", &mut self.certificate_failure);
        }
        self.spare = spare();
    }
}

/// A descriptor that clients can't take: they may hold all others.
fn spare() -> Option<File> {
    cfg!(unix).then(|| File::open("/dev/null").ok()).flatten()
}

/// Tells of a change, and of a failure once. `read` says whether anything changed.
fn tell(read: Result<bool, impl Error + 'static>, what: &str, failure: &mut Option<String>) {
    let error = match read {
        Ok(changed) => {
            if failure.take().is_some() || changed {
                tracing::info!("{what} were read anew");
            }
            return;
        }
        Err(error) => error,
    };
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        words = format!("{words}: {error}");
        source = error.source();
    }
    if failure.as_deref() != Some(&*words) {
        let error = &error as &dyn Error;
        tracing::error!(error, "{what} stay as they were");
        *failure = Some(words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_file_that_does_not_answer_stops_neither_tasks_nor_the_runtime() {
        let (release, released) = mpsc::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let limit = Duration::from_millis(20);
            let hung = beside(limit, move || released.recv().unwrap_or_default());
            let other = tokio::time::sleep(limit * 3);
            tokio::select! {
                () = hung => panic!("the work can't have ended"),
                () = other => {}
            }
        });
        drop(runtime);
        drop(release);
    }

    #[test]
    fn a_failure_is_told_until_it_ends() {
        let missing = || Err::<bool, _>(std::io::Error::from(std::io::ErrorKind::NotFound));
        let mut failure = None;
        tell(missing(), "the keys", &mut failure);
        assert!(failure.is_some());
        tell(Ok::<_, std::io::Error>(false), "the keys", &mut failure);
        assert_eq!(failure, None);
    }
}
