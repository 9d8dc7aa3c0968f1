//! The queue before a model: callers' texts become batches, each pass uses all the model's threads.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Instant;

use tokio::sync::oneshot;

use akidb_embedding::{EmbedError, Embedder};

use super::error::ServiceError;

/// A request's texts as token ids.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) texts: Vec<Vec<u32>>,
    /// What they all start with.
    pub(crate) instruction: String,
}

/// Their hidden states.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) states: Vec<Vec<f32>>,
    pub(crate) started: Instant,
}

#[derive(Debug)]
struct Job {
    work: Work,
    answer: oneshot::Sender<Result<Done, ServiceError>>,
}

/// The way to the thread that runs a model.
#[derive(Debug)]
pub(crate) struct Queue {
    jobs: mpsc::Sender<Job>,
}

impl Queue {
    pub(crate) fn start(
        embedder: Arc<Embedder>,
        max_batch_tokens: usize,
    ) -> Result<Self, ServiceError> {
        let (jobs, waiting) = mpsc::channel::<Job>();
        std::thread::Builder::new()
            .name("akidb-model".to_owned())
            .spawn(move || run(&embedder, &waiting, max_batch_tokens))
            .map_err(|_| ServiceError::Stopped)?;
        Ok(Self { jobs })
    }

    pub(crate) async fn run(&self, work: Work) -> Result<Done, ServiceError> {
        let (answer, wait) = oneshot::channel();
        let job = Job { work, answer };
        self.jobs.send(job).map_err(|_| ServiceError::Stopped)?;
        wait.await.map_err(|_| ServiceError::Stopped)?
    }
}

fn run(embedder: &Embedder, waiting: &mpsc::Receiver<Job>, max_batch_tokens: usize) {
    let mut next = None;
    while let Some(first) = next.take().or_else(|| waiting.recv().ok()) {
        let mut tokens = first.tokens();
        let mut batch = vec![first];
        while let Ok(job) = waiting.try_recv() {
            tokens += job.tokens();
            if tokens > max_batch_tokens || job.work.instruction != batch[0].work.instruction {
                next = Some(job);
                break;
            }
            batch.push(job);
        }
        pass(embedder, batch);
    }
}

impl Job {
    fn tokens(&self) -> usize {
        self.work.texts.iter().map(Vec::len).sum()
    }
}

fn pass(embedder: &Embedder, batch: Vec<Job>) {
    let started = Instant::now();
    let texts: Vec<&[u32]> = batch
        .iter()
        .flat_map(|job| job.work.texts.iter().map(Vec::as_slice))
        .collect();
    let instruction = batch.first().map_or("", |job| &job.work.instruction);
    let states = embedder.forward(&texts, instruction).map_err(Arc::new);
    let mut row = 0;
    for job in batch {
        let rows = row..row + job.work.texts.len();
        row = rows.end;
        let answer = states
            .as_ref()
            .map(|states| Done {
                states: rows.map(|row| states.row(row).to_vec()).collect(),
                started,
            })
            .map_err(|error: &Arc<EmbedError>| ServiceError::Embed(Arc::clone(error)));
        // The caller may have gone in the meantime.
        let _ = job.answer.send(answer);
    }
}
