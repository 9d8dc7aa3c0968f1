//! The queue, the thread that runs what waits in it, and who waits for it.

use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::engine::Engine;
use crate::error::ScheduleError;
use crate::observe::{Observer, PassStart};
use crate::pass;
use crate::queue::{ClassStats, Pass, PassLimits, Queue};
use crate::recent::Recent;
use crate::request::{Class, Done, EngineId, Work};
use crate::results::Results;
use crate::speed::Speed;
use crate::warm_up;

/// What the scheduler has to do and does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScheduleStats {
    /// What waits for interactive requests.
    pub interactive: ClassStats,
    /// What waits for bulk requests alone.
    pub bulk: ClassStats,
    /// Tokens computed a second, over the last ten seconds.
    pub tokens_per_second: f64,
    /// Bytes of outputs that are kept for items that may come again.
    pub cached_bytes: u64,
}

/// One queue before engines whose passes share the cores: they run one after the other, on a thread
/// of the scheduler's, which ends when it is dropped.
#[derive(Debug)]
pub struct Scheduler<E: Engine>(Arc<Shared<E>>);

#[derive(Debug)]
struct Shared<E: Engine> {
    board: Mutex<Board<E>>,
    work: Condvar,
    /// Held by the pass that runs.
    cores: Mutex<()>,
    results: Results<E>,
    observer: Box<dyn Observer>,
}

#[derive(Debug)]
struct Board<E: Engine> {
    queue: Queue<E>,
    computed_tokens: Recent,
    stopped: bool,
}

impl<E: Engine> Scheduler<E> {
    /// Starts the thread. Outputs are kept for items that may come again, in `cache_bytes` bytes.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        limits: PassLimits,
        cache_bytes: usize,
        observer: Box<dyn Observer>,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            board: Mutex::new(Board {
                queue: Queue::new(limits),
                computed_tokens: Recent::new(Instant::now()),
                stopped: false,
            }),
            work: Condvar::new(),
            cores: Mutex::new(()),
            results: Results::new(cache_bytes),
            observer,
        });
        let worker = Worker(Arc::clone(&shared));
        std::thread::Builder::new()
            .name("akidb-passes".to_owned())
            .spawn(move || worker.run())?;
        Ok(Self(shared))
    }

    /// Makes an engine known, under a name for the [`Observer`].
    pub fn add_engine(&self, name: Arc<str>, engine: Arc<E>, speed: Speed) -> EngineId {
        self.0.board().queue.add_engine(name, engine, speed)
    }

    /// Forgets an engine that no request uses.
    pub fn remove_engine(&self, engine: EngineId) {
        self.0.board().queue.remove_engine(engine);
    }

    /// Runs an engine for the first time, on a small and on a larger item, and times it, while no
    /// pass runs.
    ///
    /// # Errors
    /// When the engine fails.
    pub fn warm_up(
        &self,
        engine: &E,
        small: &E::Item,
        large: &E::Item,
        group: &E::Group,
    ) -> Result<Speed, E::Error> {
        warm_up::warm_up(engine, small, large, group, &self.0.cores)
    }

    /// The output of an item that was computed before and is kept.
    pub fn known(&self, engine: EngineId, item: &E::Item) -> Option<E::Output> {
        self.0.results.get(engine, item)
    }

    /// Waits for a request's outputs. What it alone waits for isn't computed when the future is
    /// dropped before.
    ///
    /// # Errors
    /// When the request is refused, an item of it fails, or the scheduler stops.
    pub async fn run(&self, work: Work<E>) -> Result<Done<E>, ScheduleError<E::Error>> {
        let (answer, done) = oneshot::channel();
        let request = {
            let mut board = self.0.board();
            if board.stopped {
                return Err(ScheduleError::Stopped);
            }
            board.queue.submit(work, answer, Instant::now())?
        };
        self.0.work.notify_one();
        let _cancel = Cancel(&*self.0, request);
        done.await.map_err(|_| ScheduleError::Stopped)?
    }

    /// How long a client's next item would wait.
    pub fn expected_wait(&self, class: Class, client: &str) -> Duration {
        let board = self.0.board();
        let nothing = Duration::ZERO;
        board
            .queue
            .expected_wait(class, client, nothing, Instant::now())
    }

    /// Tokens of the items that wait for engines of a name.
    pub fn queued_tokens(&self, name: &str) -> usize {
        self.0.board().queue.queued_tokens(name)
    }

    /// What the scheduler has to do and does.
    pub fn stats(&self) -> ScheduleStats {
        let board = self.0.board();
        let now = Instant::now();
        ScheduleStats {
            interactive: board.queue.stats(Class::Interactive, now),
            bulk: board.queue.stats(Class::Bulk, now),
            tokens_per_second: board.computed_tokens.per_second(now),
            cached_bytes: self.0.results.bytes(),
        }
    }
}

impl<E: Engine> Drop for Scheduler<E> {
    fn drop(&mut self) {
        self.0.board().stopped = true;
        self.0.work.notify_all();
    }
}

/// Forgets a request when its caller does.
struct Cancel<'a, E: Engine>(&'a Shared<E>, u64);

impl<E: Engine> Drop for Cancel<'_, E> {
    fn drop(&mut self) {
        let Self(shared, request) = self;
        shared.board().queue.cancel(*request);
    }
}

impl<E: Engine> Shared<E> {
    fn board(&self) -> MutexGuard<'_, Board<E>> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next pass; `None` when there will be none.
    fn next(&self) -> Option<Pass<E>> {
        let mut board = self.board();
        loop {
            if board.stopped {
                return None;
            }
            let now = Instant::now();
            if let Some(mut pass) = board.queue.take(now) {
                drop(board);
                self.observer.started(&PassStart {
                    engine: Arc::clone(&pass.name),
                    class: pass.class,
                    waited: mem::take(&mut pass.waited),
                    tokens: pass.tokens,
                });
                return Some(pass);
            }
            let waited = self.work.wait(board);
            board = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn run(&self, pass: &Pass<E>) {
        let alone = self.cores.lock().unwrap_or_else(PoisonError::into_inner);
        let started = Instant::now();
        let results = pass::run(&*pass.engine, &pass.items, &pass.group);
        let took = started.elapsed();
        drop(alone);
        for (item, result) in pass.items.iter().zip(&results) {
            if let Ok(output) = result {
                self.results.keep(pass.id, item, output);
            }
        }
        let answers = {
            let mut board = self.board();
            board.computed_tokens.add(pass.tokens, started + took);
            board.queue.finish(pass, results, took)
        };
        for answer in answers {
            answer.send();
        }
        self.observer.ended(&pass.name, took);
    }
}

/// The thread's side.
struct Worker<E: Engine>(Arc<Shared<E>>);

impl<E: Engine> Worker<E> {
    fn run(&self) {
        while let Some(pass) = self.0.next() {
            self.0.run(&pass);
        }
    }
}

impl<E: Engine> Drop for Worker<E> {
    /// Whatever ended the thread: nobody waits for it for ever.
    fn drop(&mut self) {
        let answers = {
            let mut board = self.0.board();
            board.stopped = true;
            board.queue.abandon()
        };
        for answer in answers {
            answer.send();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::pin;
    use std::sync::mpsc;
    use std::task::{Context, Waker};

    use super::*;

    /// Says how many items each pass has, and waits for the word to go on.
    #[derive(Debug)]
    struct Gate {
        passes: mpsc::Sender<usize>,
        go: Mutex<mpsc::Receiver<()>>,
    }

    impl Engine for Gate {
        type Item = u32;
        type Group = ();
        type Output = u32;
        type Error = Infallible;

        fn run(&self, items: &[u32], (): &()) -> Result<Vec<u32>, Infallible> {
            let _ = self.passes.send(items.len());
            let _ = self.go.lock().map(|go| go.recv());
            Ok(items.to_vec())
        }

        fn tokens(_: &u32) -> usize {
            1
        }

        fn bytes(_: &u32, _: &u32) -> usize {
            size_of::<u32>()
        }

        fn is_sound(_: &u32) -> bool {
            true
        }
    }

    fn work(engine: EngineId, item: u32) -> Work<Gate> {
        Work {
            engine,
            items: vec![item],
            known: Vec::new(),
            group: (),
            class: Class::Interactive,
            client: "".into(),
            max_wait: Duration::MAX,
            deadline: None,
        }
    }

    #[tokio::test]
    async fn callers_that_come_during_a_pass_share_the_next_and_those_who_go_are_not_in_it() {
        let (passes, sizes) = mpsc::channel();
        let (go, wait) = mpsc::channel();
        let limits = PassLimits {
            tokens: 1000,
            time: Duration::from_secs(1),
        };
        let scheduler = Scheduler::start(limits, 1 << 20, Box::new(())).unwrap();
        let speed = Speed::of((1, Duration::from_nanos(1)), (2, Duration::from_nanos(2)));
        let gate = Gate {
            passes,
            go: Mutex::new(wait),
        };
        let engine = scheduler.add_engine("gate".into(), Arc::new(gate), speed);
        let cx = &mut Context::from_waker(Waker::noop());

        let mut first = pin!(scheduler.run(work(engine, 0)));
        assert!(first.as_mut().poll(cx).is_pending());
        assert_eq!(sizes.recv().unwrap(), 1);
        let mut others: Vec<_> = (1..=200)
            .map(|item| Box::pin(scheduler.run(work(engine, item))))
            .collect();
        for other in &mut others {
            assert!(other.as_mut().poll(cx).is_pending());
        }
        assert_eq!(scheduler.stats().interactive.items, 200);
        assert_eq!(scheduler.queued_tokens("gate"), 200);
        drop(others.split_off(150));
        assert_eq!(scheduler.stats().interactive.items, 150);
        assert_eq!(scheduler.queued_tokens("gate"), 150);
        assert_eq!(scheduler.queued_tokens("other"), 0);
        go.send(()).unwrap();
        assert_eq!(first.await.unwrap().outputs, [0]);
        assert_eq!(sizes.recv().unwrap(), 150);
        go.send(()).unwrap();
        for (item, other) in (1..).zip(others) {
            assert_eq!(other.await.unwrap().outputs, [item]);
        }
        assert_eq!(scheduler.known(engine, &7), Some(7));
        assert_eq!(scheduler.known(engine, &200), None);
    }

    #[tokio::test]
    async fn an_engine_that_was_removed_runs_nothing() {
        let (passes, _sizes) = mpsc::channel();
        let limits = PassLimits {
            tokens: 1,
            time: Duration::from_secs(1),
        };
        let scheduler = Scheduler::start(limits, 0, Box::new(())).unwrap();
        let speed = Speed::of((1, Duration::from_nanos(1)), (2, Duration::from_nanos(2)));
        let gate = Gate {
            passes,
            go: Mutex::new(mpsc::channel().1),
        };
        let engine = scheduler.add_engine("gate".into(), Arc::new(gate), speed);
        assert_eq!(scheduler.run(work(engine, 3)).await.unwrap().outputs, [3]);
        scheduler.remove_engine(engine);
        let error = scheduler.run(work(engine, 4)).await.unwrap_err();
        assert!(matches!(error, ScheduleError::Stopped));
    }
}
