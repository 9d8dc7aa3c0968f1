//! The threads of an engine.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use rayon::iter::{IndexedParallelIterator, IntoParallelRefMutIterator, ParallelIterator};

use crate::error::EngineError;

/// A fixed number of threads.
#[derive(Debug)]
pub(crate) struct Pool {
    pool: rayon::ThreadPool,
}

impl Pool {
    pub(crate) fn new(threads: NonZeroUsize) -> Result<Self, EngineError> {
        let threads = threads.get();
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("akidb-native-{i}"))
            .build()
            .map_err(|source| EngineError::Threads { threads, source })?;
        Ok(Self { pool })
    }

    pub(crate) fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Runs `work` on one of the threads, from where [`Self::run`] reaches the others sooner.
    pub(crate) fn enter<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.pool.install(work)
    }

    /// Does every task once, each thread with one of `workers` to itself. Tasks are taken in
    /// order by whichever thread is free. One worker or one task needs no other thread.
    ///
    /// # Errors
    /// One that `work` returned; some tasks may not have been done then.
    pub(crate) fn run<W: Send, T: Send>(
        &self,
        workers: &mut [W],
        tasks: Vec<T>,
        work: impl Fn(&mut W, T) -> Result<(), EngineError> + Sync,
    ) -> Result<(), EngineError> {
        let active = workers.len().min(tasks.len());
        let queue = Mutex::new(tasks.into_iter());
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let drain = |worker: &mut W| {
            while let Some(task) = next() {
                work(worker, task)?;
            }
            Ok(())
        };
        match &mut workers[..active] {
            [] => Ok(()),
            [worker] => drain(worker),
            workers => self
                .pool
                .install(|| workers.par_iter_mut().with_max_len(1).try_for_each(drain)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_done_once() {
        let pool = Pool::new(NonZeroUsize::new(3).unwrap()).unwrap();
        assert_eq!(pool.threads(), 3);
        for (workers, tasks) in [(1, 5), (3, 0), (3, 1), (3, 2), (3, 100), (7, 20)] {
            let mut workers = vec![0; workers];
            let mut done = vec![0; tasks];
            pool.run(&mut workers, done.iter_mut().collect(), |worker, done| {
                *worker += 1;
                *done += 1;
                Ok(())
            })
            .unwrap();
            assert_eq!(done, vec![1; tasks]);
            assert_eq!(workers.iter().sum::<usize>(), tasks);
        }
    }

    #[test]
    fn an_error_comes_back() {
        let pool = Pool::new(NonZeroUsize::new(2).unwrap()).unwrap();
        let result = pool.run(&mut [(), ()], (0..10).collect(), |(), task| {
            if task == 7 {
                return Err(EngineError::EmptyText { text: task });
            }
            Ok(())
        });
        assert!(matches!(result, Err(EngineError::EmptyText { text: 7 })));
    }
}
