//! The threads of an engine, and how they wait for each other.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

use crate::error::EngineError;

/// Looks at a flag this often before the processor is offered to other programs: about as long as
/// the shortest phase of a pass takes.
const SPINS: usize = 20_000;

/// A fixed number of threads.
#[derive(Debug)]
pub(crate) struct Pool {
    pool: rayon::ThreadPool,
    /// Held by the team at work. Two teams that waited for each other's threads would never end.
    busy: Mutex<()>,
}

impl Pool {
    pub(crate) fn new(threads: NonZeroUsize) -> Result<Self, EngineError> {
        let threads = threads.get();
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("akidb-native-{i}"))
            .build()
            .map_err(|source| EngineError::Threads { threads, source })?;
        let busy = Mutex::new(());
        Ok(Self { pool, busy })
    }

    pub(crate) fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Does every task once, on whichever thread is free.
    ///
    /// # Errors
    /// One that `work` returned; some tasks may not have been done then.
    pub(crate) fn for_each<T: Send>(
        &self,
        tasks: Vec<T>,
        work: impl Fn(T) -> Result<(), EngineError> + Sync + Send,
    ) -> Result<(), EngineError> {
        let tasks = tasks.into_par_iter().with_max_len(1);
        self.pool.install(|| tasks.try_for_each(work))
    }

    /// Runs `work` on all threads at once, as members of one team.
    ///
    /// # Errors
    /// The first that `work` returned on its own account.
    pub(crate) fn team(
        &self,
        work: impl Fn(Member<'_>) -> Result<(), EngineError> + Sync,
    ) -> Result<(), EngineError> {
        let _busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let team = Team::new(self.threads());
        let results = self.pool.broadcast(|thread| {
            let index = thread.index();
            let mut guard = StopOthers { team: Some(&team) };
            let result = work(Member { index, team: &team });
            if result.is_ok() {
                guard.team = None;
            }
            result
        });
        let mut stopped = Ok(());
        for result in results {
            match result {
                Err(EngineError::Stopped) => stopped = Err(EngineError::Stopped),
                result => result?,
            }
        }
        stopped
    }

    /// Runs `work` on one thread of the pool, as the only member of its team.
    ///
    /// # Errors
    /// What `work` returned.
    pub(crate) fn alone(
        &self,
        work: impl FnOnce(Member<'_>) -> Result<(), EngineError> + Send,
    ) -> Result<(), EngineError> {
        let _busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let team = Team::new(1);
        let member = Member {
            index: 0,
            team: &team,
        };
        self.pool.install(|| work(member))
    }
}

/// Threads that go through a pass together.
#[derive(Debug)]
struct Team {
    size: usize,
    /// Members that wait.
    arrived: Line<AtomicUsize>,
    /// How often all have met.
    round: Line<AtomicUsize>,
    failed: AtomicBool,
}

/// Keeps neighbours out of a cache line, and out of the line that is fetched along with it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line<T>(T);

impl Team {
    fn new(size: usize) -> Self {
        Self {
            size,
            arrived: Line::default(),
            round: Line::default(),
            failed: AtomicBool::new(false),
        }
    }
}

/// Lets the other members know that this one won't come, unless it is told that all went well.
struct StopOthers<'t> {
    team: Option<&'t Team>,
}

impl Drop for StopOthers<'_> {
    fn drop(&mut self) {
        if let Some(team) = self.team {
            team.failed.store(true, Ordering::Release);
        }
    }
}

/// One thread of a team.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member<'t> {
    /// Counts the team's members.
    pub(crate) index: usize,
    team: &'t Team,
}

impl Member<'_> {
    /// Number of members of the team.
    pub(crate) fn team_size(self) -> usize {
        self.team.size
    }

    /// Waits until every member has called this as often. What they wrote before is seen after.
    ///
    /// # Errors
    /// [`EngineError::Stopped`] when another one failed.
    pub(crate) fn wait(self) -> Result<(), EngineError> {
        let Team {
            size,
            arrived: Line(arrived),
            round: Line(round),
            failed,
        } = self.team;
        if *size == 1 {
            return Ok(());
        }
        let this = round.load(Ordering::Acquire);
        if arrived.fetch_add(1, Ordering::AcqRel) + 1 == *size {
            arrived.store(0, Ordering::Relaxed);
            round.store(this.wrapping_add(1), Ordering::Release);
            return Ok(());
        }
        let mut spins = 0;
        while round.load(Ordering::Acquire) == this {
            if failed.load(Ordering::Acquire) {
                return Err(EngineError::Stopped);
            }
            spins += 1;
            if spins < SPINS {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(threads: usize) -> Pool {
        Pool::new(NonZeroUsize::new(threads).unwrap()).unwrap()
    }

    #[test]
    fn every_task_is_done_once() {
        let pool = pool(3);
        assert_eq!(pool.threads(), 3);
        for tasks in [0, 1, 2, 100] {
            let mut done = vec![0; tasks];
            let work = |done: &mut i32| {
                *done += 1;
                Ok(())
            };
            pool.for_each(done.iter_mut().collect(), work).unwrap();
            assert_eq!(done, vec![1; tasks]);
        }
    }

    #[test]
    fn an_error_comes_back() {
        let fail = |task| match task {
            7 => Err(EngineError::EmptyText { text: 7 }),
            _ => Ok(()),
        };
        let result = pool(2).for_each((0..10).collect(), fail);
        assert!(matches!(result, Err(EngineError::EmptyText { text: 7 })));
    }

    #[test]
    fn nobody_passes_a_barrier_alone() {
        for threads in [1, 2, 5] {
            let pool = pool(threads);
            let counts: Vec<AtomicUsize> = (0..threads).map(|_| AtomicUsize::new(0)).collect();
            let work = |member: Member<'_>| {
                for round in 1..200 {
                    counts[member.index].store(round, Ordering::Relaxed);
                    member.wait()?;
                    for count in &counts {
                        assert_eq!(count.load(Ordering::Relaxed), round);
                    }
                    member.wait()?;
                }
                Ok(())
            };
            pool.team(work).unwrap();
        }
    }

    #[test]
    fn who_waits_for_a_failed_member_is_told() {
        let pool = pool(3);
        let fails = |member: Member<'_>| match member.index {
            1 => Err(EngineError::EmptyText { text: 1 }),
            _ => member.wait().and_then(|()| member.wait()),
        };
        let result = pool.team(fails);
        assert!(matches!(result, Err(EngineError::EmptyText { text: 1 })));
        let panics = |member: Member<'_>| {
            assert_ne!(member.index, 2);
            member.wait()
        };
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pool.team(panics)));
        assert!(result.is_err());
        pool.team(|member| member.wait()).unwrap();
    }
}
