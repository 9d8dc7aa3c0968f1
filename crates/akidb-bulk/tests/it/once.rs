//! Exactly once: started again, in parts, by several at once.

use std::collections::HashMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use akidb_bulk::NoListener;
use akidb_bulk::corpus::{
    CorpusError, CorpusListener, End, Folder, Manifest, Outcome, Plan, Runner, Shard, Unit,
    UnitFormat,
};

use crate::common::Corpus;

fn corpus() -> Corpus {
    let mut corpus = Corpus::new();
    corpus.settings.unit_rows = 10;
    for file in 0..5 {
        let lines: String = (0..25)
            .map(|row| format!("{{\"text\": \"text {}\"}}\n", row * file))
            .collect();
        corpus.write(&format!("{file}.jsonl"), lines);
    }
    corpus
}

#[derive(Default)]
struct Outcomes {
    written: Vec<String>,
    there: usize,
    stop_after: Option<usize>,
}

/// Set by a listener that has heard enough.
static STOP: AtomicBool = AtomicBool::new(false);

impl CorpusListener for Outcomes {
    fn passed(&mut self, _: u64, _: u64) {
        if self
            .stop_after
            .is_some_and(|units| self.written.len() >= units)
        {
            STOP.store(true, Ordering::Relaxed);
        }
    }

    fn unit(&mut self, unit: &Unit, outcome: &Outcome) {
        match outcome {
            Outcome::Written(_) => self.written.push(unit.name.clone()),
            Outcome::AlreadyThere => self.there += 1,
            Outcome::Held => {}
        }
    }

    fn waiting(&mut self, _: usize) {}
}

fn run(
    corpus: &Corpus,
    plan: &Plan,
    shard: Option<Shard>,
    outcomes: &mut Outcomes,
    stop: &AtomicBool,
) -> End {
    let folder = Folder::begin(&corpus.out(), plan, shard).unwrap();
    let runner = Runner::new(&corpus.embedder, &corpus.options, plan, &folder).unwrap();
    let units = shard.map_or(&*plan.units, |shard| shard.of(&plan.units));
    runner.run(units, stop, outcomes).unwrap()
}

/// Files of units, by name.
fn files(corpus: &Corpus) -> HashMap<String, Vec<u8>> {
    let entries = fs::read_dir(corpus.out()).unwrap().flatten();
    let files = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_file() && !path.ends_with("_manifest.json"));
    files
        .map(|path| {
            (
                path.file_name().unwrap().to_string_lossy().into_owned(),
                fs::read(&path).unwrap(),
            )
        })
        .collect()
}

#[test]
fn what_is_stopped_goes_on_and_what_is_done_is_not_done_again() {
    let undisturbed = corpus();
    undisturbed.run().unwrap();

    let corpus = corpus();
    let plan = corpus.plan().unwrap();
    let mut first = Outcomes {
        stop_after: Some(3),
        ..Outcomes::default()
    };
    assert_eq!(run(&corpus, &plan, None, &mut first, &STOP), End::Stopped);
    assert!(
        (3..15).contains(&first.written.len()),
        "{:?}",
        first.written
    );
    let error = Manifest::finish(&corpus.out(), &plan).unwrap_err();
    let missing = 15 - first.written.len();
    assert!(
        matches!(&error, CorpusError::Missing { count, units: 15, .. } if *count == missing),
        "{error}"
    );
    // Nothing half is left.
    let left = fs::read_dir(corpus.out().join("_run")).unwrap().flatten();
    let left: Vec<_> = left
        .map(|entry| entry.file_name())
        .filter(|name| name.to_string_lossy().ends_with(".tmp"))
        .collect();
    assert!(left.is_empty(), "{left:?}");

    let mut second = Outcomes::default();
    let go_on = AtomicBool::new(false);
    let plan = corpus.plan().unwrap();
    assert_eq!(run(&corpus, &plan, None, &mut second, &go_on), End::Done);
    assert_eq!(
        (second.written.len(), second.there),
        (missing, first.written.len())
    );
    let manifest = Manifest::finish(&corpus.out(), &plan).unwrap();
    assert_eq!((manifest.rows_in, manifest.rows_out), (125, 125));
    assert_eq!(
        Manifest::of_finished(&corpus.out(), &plan).unwrap(),
        Some(manifest)
    );
    // The same names and the same bytes, though the folders are others.
    assert_eq!(files(&corpus), files(&undisturbed));
}

#[test]
fn several_at_once_do_each_unit_once() {
    let corpus = corpus();
    let plan = corpus.plan().unwrap();
    let all: Vec<Outcomes> = thread::scope(|scope| {
        let threads: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut outcomes = Outcomes::default();
                    let end = run(&corpus, &plan, None, &mut outcomes, &AtomicBool::new(false));
                    assert_eq!(end, End::Done);
                    outcomes
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let mut written: Vec<_> = all
        .into_iter()
        .flat_map(|outcomes| outcomes.written)
        .collect();
    written.sort();
    let mut units: Vec<_> = plan.units.iter().map(|unit| unit.name.clone()).collect();
    units.sort();
    assert_eq!(written, units);
    assert_eq!(
        Manifest::finish(&corpus.out(), &plan).unwrap().rows_out,
        125
    );
}

#[test]
fn shards_do_their_parts_and_the_missing_one_is_named() {
    let corpus = corpus();
    let plan = corpus.plan().unwrap();
    let go_on = AtomicBool::new(false);
    for index in [1, 3] {
        let shard = Shard::new(index, 3).unwrap();
        let mut outcomes = Outcomes::default();
        run(&corpus, &plan, Some(shard), &mut outcomes, &go_on);
        assert_eq!(outcomes.written.len(), 5);
    }
    let error = Manifest::finish(&corpus.out(), &plan)
        .unwrap_err()
        .to_string();
    assert_eq!(error, "5 of 15 units missing: 5 units of shard 2/3");
    let mut outcomes = Outcomes::default();
    run(
        &corpus,
        &plan,
        Some(Shard::new(2, 3).unwrap()),
        &mut outcomes,
        &go_on,
    );
    assert_eq!((outcomes.written.len(), outcomes.there), (5, 0));
    assert_eq!(
        Manifest::finish(&corpus.out(), &plan).unwrap().rows_out,
        125
    );
}

#[test]
fn a_plan_goes_to_other_processes_as_json_and_units_are_driven_one_by_one() {
    let corpus = corpus();
    let plan = corpus.plan().unwrap();
    let json = serde_json::to_string(&plan).unwrap();
    let plan: Plan = serde_json::from_str(&json).unwrap();
    let folder = Folder::begin(&corpus.out(), &plan, None).unwrap();
    let runner = Runner::new(&corpus.embedder, &corpus.options, &plan, &folder).unwrap();
    for unit in plan.units.iter().rev() {
        assert!(matches!(
            runner.run_unit(unit).unwrap(),
            Outcome::Written(_)
        ));
        assert_eq!(runner.run_unit(unit).unwrap(), Outcome::AlreadyThere);
    }
    let manifest = Manifest::finish(&corpus.out(), &plan).unwrap();
    assert_eq!(manifest.units.len(), 15);
    assert_eq!(manifest.rows_out, 125);
}

#[test]
fn files_that_are_added_are_done_and_the_rest_stays() {
    let corpus = corpus();
    corpus.run().unwrap();
    let before = files(&corpus);
    corpus.write("9.jsonl", "{\"text\": \"new\"}\n");
    // Written again without a change, at another time.
    let same = fs::read(corpus.path("0.jsonl")).unwrap();
    corpus.write("0.jsonl", same);
    let plan = corpus.plan().unwrap();
    let mut outcomes = Outcomes::default();
    run(&corpus, &plan, None, &mut outcomes, &AtomicBool::new(false));
    assert_eq!((outcomes.written.len(), outcomes.there), (1, 15));
    assert_eq!(
        Manifest::finish(&corpus.out(), &plan).unwrap().rows_out,
        126
    );
    let after = files(&corpus);
    assert!(
        before
            .iter()
            .all(|(name, bytes)| after.get(name) == Some(bytes))
    );
}

#[test]
fn files_of_the_same_name_and_content_are_two() {
    let mut corpus = corpus();
    corpus.write("a/x.txt", "one\ntwo\n");
    corpus.write("b/x.txt", "one\ntwo\n");
    let path = |name: &str| corpus.path(name).to_string_lossy().into_owned();
    corpus.settings.inputs = vec![path("a/x.txt"), path("b/x.txt"), path("a/*.txt")];
    let manifest = corpus.run().unwrap();
    assert_eq!((manifest.rows_in, manifest.rows_out), (4, 4));
    let plan = corpus.plan().unwrap();
    assert_eq!((plan.files.len(), plan.repeated_files), (2, 1));
    assert_ne!(plan.units[0].name, plan.units[1].name);
}

#[test]
fn a_folder_of_the_output_may_lie_in_the_input() {
    let mut corpus = corpus();
    corpus.settings.inputs = vec![corpus.dir.path().to_string_lossy().into_owned()];
    assert_eq!(corpus.run().unwrap().rows_in, 125);
    // Units are no input.
    assert_eq!(corpus.run().unwrap().rows_in, 125);
    let plan = corpus.plan().unwrap();
    let folder = Folder::begin(&corpus.out(), &plan, None).unwrap();
    let runner = Runner::new(&corpus.embedder, &corpus.options, &plan, &folder).unwrap();
    let end = runner
        .run(&plan.units, &AtomicBool::new(false), &mut NoListener)
        .unwrap();
    assert_eq!(end, End::Done);
}

#[test]
fn a_unit_of_several_files_is_there_with_the_last_of_them() {
    let mut corpus = corpus();
    corpus.settings.format = UnitFormat::Npy;
    let whole = corpus.run().unwrap();
    let expected = files(&corpus);
    assert_eq!(expected.len(), 3 * whole.units.len());
    // As a process leaves it that is killed between two of them.
    for (unit, gone) in whole.units.iter().zip([1, 2, 3].into_iter().cycle()) {
        for ending in ["npy", "jsonl", "json"].iter().take(gone) {
            fs::remove_file(corpus.out().join(format!("{}.{ending}", unit.name))).unwrap();
        }
    }
    let again = corpus.run().unwrap();
    assert_eq!(again.units, whole.units);
    assert_eq!(files(&corpus), expected);
}
