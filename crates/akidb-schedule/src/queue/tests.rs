//! The queue against its promises, with a clock and a model that are made up.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{Answer, PassLimits};
use crate::error::{Fault, ScheduleError};
use crate::fake::{Fake, text};
use crate::request::{Class, EngineId};
use crate::speed::Speed;

const MS: Duration = Duration::from_millis(1);

type Queue = super::Queue<Fake>;
type Pass = super::Pass<Fake>;
type Work = crate::request::Work<Fake>;
type Error = ScheduleError<io::Error>;
type Receiver = oneshot::Receiver<Result<crate::Done<Fake>, Error>>;

/// A queue, its clock, and an engine that takes 1 ms a token.
struct Bench {
    queue: Queue,
    engine: EngineId,
    now: Instant,
}

impl Bench {
    fn new(pass_ms: u32) -> Self {
        let mut queue = Queue::new(PassLimits {
            tokens: 1000,
            time: pass_ms * MS,
        });
        let speed = Speed::of((100, 100 * MS), (200, 200 * MS));
        let engine = queue.add_engine("m".into(), Arc::new(Fake), speed);
        Self {
            queue,
            engine,
            now: Instant::now(),
        }
    }

    fn work(&self, class: Class, client: &str, texts: &[Vec<u32>]) -> Work {
        Work {
            engine: self.engine,
            items: texts.to_vec(),
            known: vec![None; texts.len()],
            group: "",
            class,
            client: client.into(),
            max_wait: Duration::MAX,
            deadline: None,
        }
    }

    fn submit(&mut self, work: Work) -> (u64, Receiver) {
        self.try_submit(work).unwrap()
    }

    fn try_submit(&mut self, work: Work) -> Result<(u64, Receiver), Error> {
        let (answer, receiver) = oneshot::channel();
        let id = self.queue.submit(work, answer, self.now)?;
        Ok((id, receiver))
    }

    fn add(&mut self, class: Class, client: &str, texts: &[Vec<u32>]) -> (u64, Receiver) {
        self.submit(self.work(class, client, texts))
    }

    fn take(&mut self) -> Option<Vec<Vec<u32>>> {
        self.queue.take(self.now).map(|pass| pass.items)
    }

    /// Runs the next pass: a text's state is its first id.
    fn run(&mut self) -> Option<Pass> {
        let pass = self.queue.take(self.now)?;
        self.end(&pass);
        Some(pass)
    }

    fn end(&mut self, pass: &Pass) {
        let results = pass.items.iter().map(|text| Ok(text[0] as f32));
        self.end_with(pass, results.collect());
    }

    fn end_with(&mut self, pass: &Pass, results: Vec<Result<f32, Fault<io::Error>>>) {
        let took = pass.tokens as u32 * MS;
        self.now += took;
        let answers = self.queue.finish(pass, results, took);
        answers.into_iter().for_each(Answer::send);
    }
}

fn outputs(receiver: &mut Receiver) -> Vec<f32> {
    let done = receiver.try_recv().unwrap().unwrap();
    done.outputs
}

use Class::{Bulk, Interactive};

#[test]
fn a_pass_has_texts_up_to_its_time_and_one_in_any_case() {
    let mut bench = Bench::new(100);
    let all = [text(1, 300), text(2, 40), text(3, 40), text(4, 40)];
    let (_, mut answer) = bench.add(Interactive, "a", &all);
    for pass in [&all[..1], &all[1..3], &all[3..]] {
        assert!(answer.try_recv().is_err());
        assert_eq!(bench.run().unwrap().items, pass);
    }
    assert_eq!(outputs(&mut answer), [1.0, 2.0, 3.0, 4.0]);
}

#[test]
fn a_request_is_split_over_passes_and_put_together_in_order() {
    let mut bench = Bench::new(100);
    let all: Vec<Vec<u32>> = (1..=9).map(|n| text(n, 30)).collect();
    let (_, mut answer) = bench.add(Interactive, "a", &all);
    for passes in [3, 3, 3] {
        assert!(answer.try_recv().is_err());
        assert_eq!(bench.run().unwrap().items.len(), passes);
    }
    assert_eq!(
        outputs(&mut answer),
        (1..=9).map(|n| n as f32).collect::<Vec<_>>()
    );
    assert!(bench.run().is_none());
}

#[test]
fn equal_texts_are_computed_once_and_answered_to_all() {
    let mut bench = Bench::new(100);
    let (_, mut first) = bench.add(Bulk, "a", &[text(7, 10), text(8, 10), text(7, 10)]);
    let (_, mut second) = bench.add(Bulk, "b", &[text(8, 10)]);
    let pass = bench.queue.take(bench.now).unwrap();
    assert_eq!(pass.items, [text(7, 10), text(8, 10)]);
    // While it runs, too.
    let (_, mut third) = bench.add(Interactive, "c", &[text(7, 10)]);
    assert!(bench.take().is_none());
    bench.end(&pass);
    assert_eq!(outputs(&mut first), [7.0, 8.0, 7.0]);
    assert_eq!(outputs(&mut second), [8.0]);
    assert_eq!(outputs(&mut third), [7.0]);
    // Afterwards it is computed again.
    let _third = bench.add(Interactive, "c", &[text(7, 10)]);
    assert_eq!(bench.take().unwrap(), [text(7, 10)]);
}

#[test]
fn a_text_that_waits_in_bulk_runs_at_once_when_somebody_interactive_wants_it() {
    let mut bench = Bench::new(50);
    let all: Vec<Vec<u32>> = (1..=9).map(|n| text(n, 50)).collect();
    let (_, mut bulk) = bench.add(Bulk, "a", &all);
    let (_, mut interactive) = bench.add(Interactive, "b", &all[7..8]);
    assert_eq!(bench.run().unwrap().items, all[7..8]);
    assert_eq!(outputs(&mut interactive), [8.0]);
    while bench.run().is_some() {}
    assert_eq!(outputs(&mut bulk).len(), 9);
    assert_eq!(bench.queue.stats(Bulk, bench.now), Default::default());
}

#[test]
fn what_is_known_is_not_computed() {
    let mut bench = Bench::new(100);
    let mut work = bench.work(Interactive, "a", &[text(1, 5), text(2, 5)]);
    work.known[1] = Some(22.0);
    let (_, mut answer) = bench.submit(work);
    assert_eq!(bench.run().unwrap().items, [text(1, 5)]);
    assert_eq!(outputs(&mut answer), [1.0, 22.0]);

    let mut work = bench.work(Interactive, "a", &[text(2, 5)]);
    work.known[0] = Some(22.0);
    let (_, mut answer) = bench.submit(work);
    assert_eq!(outputs(&mut answer), [22.0]);
    let (_, mut none) = bench.add(Interactive, "a", &[]);
    assert!(outputs(&mut none).is_empty());
    assert!(bench.take().is_none());
}

#[test]
fn passes_have_one_engine_and_one_group() {
    let mut bench = Bench::new(100);
    let speed = Speed::of((100, 100 * MS), (200, 200 * MS));
    let other = bench.queue.add_engine("o".into(), Arc::new(Fake), speed);
    let mut kept = Vec::new();
    for n in 0..9 {
        let mut work = bench.work(Interactive, "a", &[text(n, 5)]);
        match n % 3 {
            0 => work.engine = other,
            1 => work.group = "query: ",
            _ => {}
        }
        kept.push(bench.submit(work));
    }
    let mut firsts = Vec::new();
    while let Some(pass) = bench.run() {
        firsts.push(pass.items.iter().map(|t| t[0]).collect::<Vec<_>>());
    }
    assert_eq!(firsts, [[0, 3, 6], [1, 4, 7], [2, 5, 8]]);
}

#[test]
fn what_nobody_waits_for_any_more_is_not_computed() {
    let mut bench = Bench::new(50);
    let all: Vec<Vec<u32>> = (1..=4).map(|n| text(n, 50)).collect();
    let (first, _answer) = bench.add(Interactive, "a", &all);
    let (_, mut shared) = bench.add(Interactive, "b", &all[2..3]);
    let pass = bench.queue.take(bench.now).unwrap();
    bench.queue.cancel(first);
    bench.queue.cancel(first);
    bench.end(&pass);
    assert_eq!(bench.run().unwrap().items, all[2..3]);
    assert_eq!(outputs(&mut shared), [3.0]);
    assert!(bench.take().is_none());
    assert_eq!(bench.queue.queued_tokens("m"), 0);
    assert_eq!(
        bench.queue.stats(Interactive, bench.now),
        Default::default()
    );
}

#[test]
fn a_text_that_fails_harms_its_own_request_only() {
    let mut bench = Bench::new(50);
    let (_, mut bad) = bench.add(Interactive, "a", &[text(1, 25), text(2, 50)]);
    let (_, mut good) = bench.add(Interactive, "b", &[text(3, 25)]);
    let pass = bench.queue.take(bench.now).unwrap();
    let results = pass.items.iter().map(|text| match text[0] {
        1 => Err(Fault::Panicked("1".into())),
        n => Ok(n as f32),
    });
    let results = results.collect();
    bench.end_with(&pass, results);
    assert!(bad.try_recv().unwrap().is_err());
    assert_eq!(outputs(&mut good), [3.0]);
    // The rest of the request that failed is dropped.
    assert!(bench.take().is_none());
}

#[test]
fn clients_share_the_time_however_much_they_ask_for() {
    let mut bench = Bench::new(100);
    let texts = |from: u32, n: u32, tokens| -> Vec<Vec<u32>> {
        (from..from + n).map(|i| text(i, tokens)).collect()
    };
    let mut kept = vec![bench.add(Bulk, "many", &texts(1, 500, 10))];
    kept.push(bench.add(Bulk, "long", &texts(1001, 50, 100)));
    for i in 0..50 {
        kept.push(bench.add(Bulk, "single", &texts(2001 + i, 1, 20)));
    }
    let mut time = HashMap::new();
    for _ in 0..30 {
        for text in bench.run().unwrap().items {
            *time.entry(text[0] / 1000).or_insert(0) += text.len();
        }
    }
    let [many, long, single] = [0, 1, 2].map(|client| time[&client]);
    // No two are further apart than their longest texts and a pass.
    assert!(many.abs_diff(long) <= 200, "{time:?}");
    assert!(many.abs_diff(single) <= 200, "{time:?}");
}

#[test]
fn who_was_away_saves_nothing_up_and_who_had_much_waits() {
    let mut bench = Bench::new(100);
    let all: Vec<Vec<u32>> = (1..=40).map(|n| text(n, 40)).collect();
    let _long = bench.add(Bulk, "a", &all);
    for _ in 0..10 {
        bench.run().unwrap();
    }
    // After 0.8 s of the first client's texts, the second is served in turns, not for 0.8 s.
    let all: Vec<Vec<u32>> = (101..=140).map(|n| text(n, 40)).collect();
    let _late = bench.add(Bulk, "b", &all);
    for _ in 0..5 {
        let mut pass = bench.run().unwrap();
        pass.items.sort();
        assert!(pass.items[0][0] <= 40 && pass.items[1][0] > 100);
    }
}

#[test]
fn interactive_texts_go_first_and_bulk_has_its_share() {
    let mut bench = Bench::new(100);
    let all: Vec<Vec<u32>> = (1..=400).map(|n| text(n, 25)).collect();
    let _bulk = bench.add(Bulk, "a", &all);
    let mut time = [0, 0];
    let mut kept = Vec::new();
    for n in 0..200 {
        // There is always something interactive.
        for i in 0..2 {
            kept.push(bench.add(Interactive, "b", &[text(1000 + 2 * n + i, 50)]));
        }
        let pass = bench.run().unwrap();
        time[usize::from(pass.class == Bulk)] += pass.tokens;
        if n < 4 {
            assert_eq!(pass.class, Interactive);
        }
    }
    let share = time[1] as f64 / (time[0] + time[1]) as f64;
    assert!((0.18..=0.22).contains(&share), "{share}");
}

#[test]
fn an_interactive_text_waits_for_one_pass_of_bulk_work_at_most() {
    let mut bench = Bench::new(100);
    let all: Vec<Vec<u32>> = (1..=400).map(|n| text(n, 25)).collect();
    let _bulk = bench.add(Bulk, "a", &all);
    for n in 0..50 {
        let pass = bench.queue.take(bench.now).unwrap();
        assert_eq!((pass.class, pass.tokens), (Bulk, 100));
        let (_, mut answer) = bench.add(Interactive, "b", &[text(1000 + n, 5)]);
        bench.end(&pass);
        assert_eq!(bench.run().unwrap().class, Interactive);
        assert_eq!(outputs(&mut answer).len(), 1);
    }
}

#[test]
fn who_would_wait_too_long_is_refused_and_told_for_how_long() {
    let mut bench = Bench::new(100);
    let all: Vec<Vec<u32>> = (1..=20).map(|n| text(n, 40)).collect();
    let _first = bench.add(Interactive, "a", &all);
    let refused = |bench: &mut Bench, class, client: &str, texts: &[Vec<u32>]| {
        let work = Work {
            max_wait: 500 * MS,
            ..bench.work(class, client, texts)
        };
        match bench.try_submit(work) {
            Ok(_) => None,
            Err(Error::Overloaded { retry_after }) => Some(retry_after),
            Err(error) => panic!("{error}"),
        }
    };
    // 0.8 s waits.
    assert_eq!(
        refused(&mut bench, Interactive, "a", &[text(101, 40)]),
        Some(300 * MS)
    );
    assert_eq!(
        refused(&mut bench, Bulk, "b", &[text(102, 40)]),
        Some(300 * MS)
    );
    // Another client has its turn after as much as it asks for itself.
    assert_eq!(
        refused(&mut bench, Interactive, "b", &[text(103, 40)]),
        None
    );
    // Nothing of what was refused is there.
    assert_eq!(bench.queue.stats(Interactive, bench.now).tokens, 840);
    // The pass that runs counts, bulk work only as far as its share goes.
    let pass = bench.queue.take(bench.now).unwrap();
    assert_eq!(pass.tokens, 80);
    bench.now += 40 * MS;
    let wait = bench
        .queue
        .expected_wait(Interactive, "a", Duration::ZERO, bench.now);
    assert_eq!(wait, 40 * MS + 760 * MS);
    let bulk: Vec<Vec<u32>> = (201..=240).map(|n| text(n, 40)).collect();
    let _bulk = bench.add(Bulk, "c", &bulk);
    let wait = bench
        .queue
        .expected_wait(Interactive, "a", Duration::ZERO, bench.now);
    assert_eq!(wait, 40 * MS + 760 * MS + 760 * MS / 4);
}

#[test]
fn what_cannot_end_before_its_deadline_is_not_begun() {
    let mut bench = Bench::new(100);
    let _first = bench.add(Interactive, "a", &[text(1, 40), text(2, 40)]);
    for (deadline, accepted) in [(119 * MS, false), (121 * MS, true)] {
        let work = Work {
            deadline: Some(bench.now + deadline),
            ..bench.work(Interactive, "a", &[text(3, 40)])
        };
        match bench.try_submit(work) {
            Ok(_) => assert!(accepted),
            Err(error) => assert!(!accepted && matches!(error, Error::DeadlineExceeded)),
        }
    }
}

#[test]
fn small_passes_that_stall_have_no_large_request_refused() {
    let mut bench = Bench::new(100);
    for n in 0..1000 {
        let _small = bench.add(Interactive, "a", &[text(n, 2)]);
        let pass = bench.queue.take(bench.now).unwrap();
        bench.now += 50 * MS;
        let results = pass.items.iter().map(|text| Ok(text[0] as f32)).collect();
        let answers = bench.queue.finish(&pass, results, 50 * MS);
        answers.into_iter().for_each(Answer::send);
    }
    let all: Vec<Vec<u32>> = (1001..=1100).map(|n| text(n, 100)).collect();
    let with = |bench: &Bench, time| Work {
        deadline: Some(bench.now + time),
        ..bench.work(Bulk, "b", &all)
    };
    // 10.4 s at the speed that was timed.
    let work = with(&bench, 10_500 * MS);
    let (id, _answer) = bench.try_submit(work).unwrap();
    bench.queue.cancel(id);
    let work = with(&bench, 10_300 * MS);
    let error = bench.try_submit(work).unwrap_err();
    assert!(matches!(error, Error::DeadlineExceeded));
}

#[test]
fn a_slow_time_is_forgotten_while_nothing_runs() {
    let mut bench = Bench::new(100);
    for n in 0..100 {
        let _slow = bench.add(Interactive, "a", &[text(n, 100)]);
        let pass = bench.queue.take(bench.now).unwrap();
        bench.now += 400 * MS;
        let answers = bench.queue.finish(&pass, vec![Ok(0.0)], 400 * MS);
        answers.into_iter().for_each(Answer::send);
    }
    let waits = |bench: &mut Bench| {
        let (id, _answer) = bench.add(Interactive, "a", &[text(1000, 100)]);
        let wait = bench.queue.stats(Interactive, bench.now).wait;
        bench.queue.cancel(id);
        wait
    };
    assert!(waits(&mut bench) > 380 * MS);
    bench.now += 100_000 * MS;
    assert!(waits(&mut bench) < 110 * MS);
}

#[test]
fn those_who_are_abandoned_are_told() {
    let mut bench = Bench::new(100);
    let (_, mut answer) = bench.add(Interactive, "a", &[text(1, 5)]);
    bench.queue.abandon().into_iter().for_each(Answer::send);
    assert!(matches!(answer.try_recv().unwrap(), Err(Error::Stopped)));
    assert!(bench.take().is_none());
}

/// Numbers that look like chance: xorshift.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// Whatever comes in whatever order: each request that isn't cancelled has one answer, the right
/// one, and afterwards nothing is left.
#[test]
fn every_text_is_answered_once_in_any_order_of_events() {
    for seed in 1..=200 {
        let mut chance = Chance(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed));
        let mut bench = Bench::new(20 + chance.below(200) as u32);
        let mut waiting: Vec<(u64, Vec<f32>, Receiver)> = Vec::new();
        let mut running: Option<Pass> = None;
        let mut computed = 0;
        for step in 0..300 {
            match chance.below(10) {
                0..=4 => {
                    let class = [Interactive, Bulk][chance.below(2) as usize];
                    let client = ["a", "b", "c", "d"][chance.below(4) as usize];
                    let texts: Vec<Vec<u32>> = (0..chance.below(6))
                        .map(|_| {
                            let n = chance.below(40) as u32 + 1;
                            text(n, 1 + n as usize * 7 % 60)
                        })
                        .collect();
                    let mut work = bench.work(class, client, &texts);
                    // An item has one group: the same text is the same work.
                    work.group = ["", "q"][chance.below(2) as usize];
                    let expected = texts.iter().map(|ids| ids[0] as f32).collect();
                    let (id, receiver) = bench.submit(work);
                    waiting.push((id, expected, receiver));
                }
                5 if !waiting.is_empty() => {
                    let index = chance.below(waiting.len() as u64) as usize;
                    let (id, _, _) = waiting.swap_remove(index);
                    bench.queue.cancel(id);
                }
                _ => match running.take() {
                    Some(pass) => bench.end(&pass),
                    None => {
                        running = bench.queue.take(bench.now);
                        computed += running.as_ref().map_or(0, |pass| pass.items.len());
                    }
                },
            }
            waiting.retain_mut(|(_, expected, receiver)| match receiver.try_recv() {
                Ok(done) => {
                    assert_eq!(&done.unwrap().outputs, expected, "seed {seed}, step {step}");
                    false
                }
                Err(_) => true,
            });
        }
        if let Some(pass) = running {
            bench.end(&pass);
        }
        while let Some(pass) = bench.run() {
            assert!(!pass.items.is_empty());
            computed += pass.items.len();
        }
        for (_, expected, mut receiver) in waiting {
            assert_eq!(outputs(&mut receiver), expected, "seed {seed}");
        }
        assert!(computed > 0);
        for class in [Interactive, Bulk] {
            assert_eq!(
                bench.queue.stats(class, bench.now),
                Default::default(),
                "seed {seed}"
            );
        }
        assert_eq!(bench.queue.queued_tokens("m"), 0);
        assert!(bench.queue.is_empty(), "seed {seed}");
    }
}
