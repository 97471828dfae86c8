//! The client.

use crate::answers::Answers;
use crate::asked::Asked;
use crate::retrying::Listener;
use crate::task::{Given, Task};
use crate::transport::Transport;
use crate::worker::{Worker, gone};
use crate::{Config, Error, FailedRequest, Failure, Retrying, continuation};
use language_model::Answer;
use serde::Deserialize;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// A model on an OpenAI-compatible server; see the [crate] for an example.
#[derive(Debug)]
pub struct Client {
    pub(crate) transport: Arc<Transport>,
    worker: Worker,
    answers: Mutex<Answers>,
    /// Whether the server is known to continue unfinished turns.
    continues: Mutex<bool>,
}

impl Client {
    /// A client with the default settings; `base_url` is such as `http://127.0.0.1:8000/v1`. Nothing is sent yet.
    ///
    /// # Errors
    /// Those of [`Client::with_config`].
    pub fn new(base_url: &str, model: impl Into<String>) -> Result<Self, Error> {
        Self::with_config(base_url, model, Config::default())
    }

    /// A client with settings. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Url`], [`Error::Setting`], [`Error::Key`], [`Error::Transport`] or [`Error::Worker`].
    pub fn with_config(
        base_url: &str,
        model: impl Into<String>,
        config: Config,
    ) -> Result<Self, Error> {
        let transport = Transport::new(base_url.parse()?, model.into(), config)?;
        Ok(Self {
            transport: Arc::new(transport),
            worker: Worker::start()?,
            answers: Mutex::default(),
            continues: Mutex::new(false),
        })
    }

    /// A client of the only model that the server has.
    ///
    /// # Errors
    /// Those of [`Client::with_config`] and [`Client::models`], and [`Error::WhichModel`] unless there is exactly one.
    pub fn of_only_model(base_url: &str, config: Config) -> Result<Self, Error> {
        Self::with_config(base_url, "", config)?.with_only_model()
    }

    /// The same client for the only model that the server has.
    ///
    /// # Errors
    /// As for [`Client::of_only_model`].
    pub fn with_only_model(self) -> Result<Self, Error> {
        let mut found = self.models()?;
        let Transport { base_url, config, listener, .. } = &*self.transport;
        match found.pop() {
            Some(model) if found.is_empty() => {
                let mut transport = Transport::new(base_url.clone(), model, config.clone())?;
                transport.listener.clone_from(listener);
                Ok(Self { transport: Arc::new(transport), ..self })
            }
            last => {
                found.extend(last);
                Err(Error::WhichModel { url: base_url.to_string(), found })
            }
        }
    }

    /// Lets `tell` hear when the server does not answer and is asked again: at the first such failure at once, then at
    /// most once a minute. It is called on the thread that sends requests and should not wait. The first one that is given
    /// stays.
    #[must_use]
    pub fn tell_retries(self, tell: impl Fn(&Retrying) + Send + Sync + 'static) -> Self {
        self.transport.listener.get_or_init(|| Listener::new(tell));
        self
    }

    /// Keeps every answer in a file from the moment it is there, so that a process that is started again asks only for
    /// the rest. Answers are found by all that decides them: model, prompt, seed, options and settings. The file holds
    /// neither the prompts nor the address nor the key.
    ///
    /// # Errors
    /// [`Error::Kept`] if the file cannot be opened, is in use, or is no file of answers.
    pub fn keep_answers(mut self, path: impl AsRef<Path>) -> Result<Self, Error> {
        self.answers = Mutex::new(Answers::open(path.as_ref())?);
        Ok(self)
    }

    /// Keeps every answer in a file until its unit of work is settled, for jobs that are longer than memory; see
    /// [`UnitOfWork`](crate::UnitOfWork). A killed process loses none; answers reach the disk within a second or so.
    ///
    /// # Errors
    /// [`Error::Kept`] if the file cannot be opened, is in use, or is no file of answers.
    pub fn keep_answers_until_settled(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        *self.answers() = Answers::open_log(path.as_ref())?;
        Ok(())
    }

    /// The name of the model.
    pub fn model(&self) -> &str {
        &self.transport.model
    }

    /// What a user should be told before anything is sent.
    pub fn warnings(&self) -> Vec<String> {
        let transport = &self.transport;
        transport.base_url.warning(transport.has_key()).into_iter().collect()
    }

    /// The models that the server says it has.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn models(&self) -> Result<Vec<String>, Error> {
        self.transport.circuit.close();
        let transport = Arc::clone(&self.transport);
        let models =
            self.worker.wait_for(async move { transport.get("models", read_models).await })??;
        Ok(models.iter().map(|model| self.transport.shown(model)).collect())
    }

    /// Sees that the server is there and has the model. One that does not list its models is believed.
    ///
    /// # Errors
    /// If it does not answer, or [`Error::NoSuchModel`].
    pub fn check(&self) -> Result<(), Error> {
        let found = match self.models() {
            Err(Error::Request(FailedRequest {
                failure: Failure::Status { status: 404 | 405, .. },
                ..
            })) => return Ok(()),
            found => found?,
        };
        if found.is_empty() || found.iter().any(|model| model == self.model()) {
            return Ok(());
        }
        let (url, model) = (self.transport.base_url.to_string(), self.model().to_owned());
        Err(Error::NoSuchModel { url, model, found })
    }

    /// Forgets answers whose work is durable.
    pub(crate) fn settle(&self, ids: Vec<String>) -> Result<(), Error> {
        self.answers().settle(ids)
    }

    /// The answers to all tasks, in order: those that are kept, and then those that the server gives. `asked` learns their
    /// names first: whatever becomes of the call, some of their answers may be kept.
    pub(crate) fn answer_all(
        &self,
        tasks: Vec<Task>,
        asked: &Asked<'_>,
    ) -> Result<Vec<Answer>, Error> {
        let ids: Vec<String> = tasks.iter().map(|task| task.id.clone()).collect();
        asked.note(&ids);
        // A copy of the call's own: others may run beside it, and ask for the same.
        let mut found: HashMap<String, Answer> = {
            let kept = self.answers();
            ids.iter().filter_map(|id| Some((id.clone(), kept.get(id)?))).collect()
        };
        let mut names = HashSet::new();
        let new = |task: &Task| !found.contains_key(&task.id) && names.insert(task.id.clone());
        let todo: Vec<Task> = tasks.into_iter().filter(new).collect();
        let outcome = self.ask(todo, asked, &mut found);
        let answers: Vec<Answer> = ids.iter().filter_map(|id| found.get(id).cloned()).collect();
        let mut kept = self.answers();
        match outcome {
            Ok(()) if answers.len() == ids.len() => {
                kept.handed_out(ids.iter().map(String::as_str));
                drop(kept);
                Ok(answers)
            }
            outcome => {
                let source = Box::new(outcome.err().unwrap_or_else(gone));
                let (done, total) = (answers.len(), ids.len());
                Err(Error::Stopped { done, total, kept: kept.path(), source })
            }
        }
    }

    /// Asks the server and keeps what it answers, up to the first failure.
    fn ask(
        &self,
        todo: Vec<Task>,
        asked: &Asked<'_>,
        found: &mut HashMap<String, Answer>,
    ) -> Result<(), Error> {
        if let Some(error) = todo.iter().find_map(|task| asked.given_up(&task.id)) {
            return Err(error);
        }
        if todo.is_empty() {
            return Ok(());
        }
        self.transport.circuit.close();
        if todo.iter().any(|task| task.continues) {
            self.check_continuation()?;
        }
        let (sender, receiver) = channel();
        self.worker.spawn(answer_in_parallel(Arc::clone(&self.transport), todo, sender));
        let mut failure = None;
        while let Some(batch) = next_batch(&receiver) {
            let mut new = Vec::with_capacity(batch.len());
            let mut waiting = Vec::with_capacity(batch.len());
            for Outcome { id, answer, taken } in batch {
                match answer {
                    Ok(given) => {
                        asked.count(&given);
                        new.push((id, given.answer));
                    }
                    Err(error) => {
                        asked.give_up(&id, &error);
                        failure = Some(worse(failure, error));
                    }
                }
                waiting.push(taken);
            }
            found.extend(new.iter().cloned());
            // Should this fail, the receiver is gone, and nothing more is asked.
            self.answers().keep(new)?;
            for taken in waiting {
                // That nobody waits any more is no failure.
                let _ = taken.send(());
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Sees once that the server continues unfinished turns.
    fn check_continuation(&self) -> Result<(), Error> {
        // Calls that run beside this one wait for what it finds.
        let mut continues = self.continues.lock().unwrap_or_else(PoisonError::into_inner);
        if *continues {
            return Ok(());
        }
        let transport = Arc::clone(&self.transport);
        self.worker.wait_for(async move { continuation::check(&transport).await })??;
        *continues = true;
        Ok(())
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The failure that says more: that the server is gone stands behind whatever else failed.
fn worse(before: Option<Error>, new: Error) -> Error {
    match before {
        Some(before) if !matches!(new, Error::CircuitOpen { .. }) => before,
        _ => new,
    }
}

/// What came of a task.
struct Outcome {
    /// The name of the task.
    id: String,
    answer: Result<Given, Error>,
    /// Tells that the answer is kept.
    taken: oneshot::Sender<()>,
}

/// What has come in since the last time, at least one; `None` if nothing will come any more.
fn next_batch(receiver: &Receiver<Outcome>) -> Option<Vec<Outcome>> {
    let first = receiver.recv().ok()?;
    Some(std::iter::once(first).chain(receiver.try_iter()).collect())
}

/// Answers tasks in their order, so many at a time, until one fails; those that are on their way are finished.
async fn answer_in_parallel(transport: Arc<Transport>, tasks: Vec<Task>, sender: Sender<Outcome>) {
    let lanes = transport.config.concurrency.min(tasks.len());
    let work = Arc::new(Work { tasks, next: AtomicUsize::new(0), stop: AtomicBool::new(false) });
    let mut running = JoinSet::new();
    for _ in 0..lanes {
        running.spawn(lane(Arc::clone(&transport), Arc::clone(&work), sender.clone()));
    }
    drop(sender);
    // A lane that fails to end well has sent nothing, which the receiver sees.
    while running.join_next().await.is_some() {}
}

/// What the lanes of a call share.
struct Work {
    tasks: Vec<Task>,
    next: AtomicUsize,
    stop: AtomicBool,
}

/// Takes one task after another. A task has its slot until its answer is kept, so that no more answers can be lost than
/// there are slots.
async fn lane(transport: Arc<Transport>, work: Arc<Work>, sender: Sender<Outcome>) {
    while !work.stop.load(Ordering::Relaxed) {
        let Some(task) = work.tasks.get(work.next.fetch_add(1, Ordering::Relaxed)) else { break };
        // Nothing closes the semaphore, so that it always gives a slot.
        let slot = transport.slots.acquire().await.ok();
        if work.stop.load(Ordering::Relaxed) {
            break;
        }
        let answer = task.answer(&transport).await.map_err(|error| error.about(&task.prompt));
        let failed = answer.is_err();
        let (taken, kept) = oneshot::channel();
        let outcome = Outcome { id: task.id.clone(), answer, taken };
        if sender.send(outcome).is_err() || kept.await.is_err() || failed {
            work.stop.store(true, Ordering::Relaxed);
        }
        drop(slot);
    }
}

#[derive(Debug, Deserialize)]
struct Models {
    data: Vec<Model>,
}

#[derive(Debug, Deserialize)]
struct Model {
    id: String,
}

fn read_models(bytes: &[u8]) -> Result<Vec<String>, Failure> {
    let models: Models =
        serde_json::from_slice(bytes).map_err(|error| Failure::Malformed(error.to_string()))?;
    Ok(models.data.into_iter().map(|model| model.id).collect())
}
