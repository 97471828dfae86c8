//! The thread on which requests run.

use crate::Error;
use std::pin::Pin;
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A thread with a runtime of its own. Callers may stand in another runtime, where one cannot block on a second.
#[derive(Debug)]
pub(crate) struct Worker {
    jobs: UnboundedSender<Job>,
}

impl Worker {
    /// Starts the thread; it ends with the worker.
    pub(crate) fn start() -> Result<Self, Error> {
        let failed = |source| Error::Worker { source };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (jobs, mut todo) = unbounded_channel::<Job>();
        let run = move || {
            runtime.block_on(async {
                while let Some(job) = todo.recv().await {
                    drop(tokio::spawn(job));
                }
            });
            // What looks names up in the background is not waited for.
            runtime.shutdown_background();
        };
        std::thread::Builder::new().name("openai".to_owned()).spawn(run).map_err(failed)?;
        Ok(Self { jobs })
    }

    /// Runs a job in the background. If the thread is gone the job is dropped, which its receiver sees.
    pub(crate) fn spawn(&self, job: impl Future<Output = ()> + Send + 'static) {
        drop(self.jobs.send(Box::pin(job)));
    }

    /// Runs a job and waits for what it gives.
    pub(crate) fn wait_for<T: Send + 'static>(
        &self,
        job: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Error> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        self.spawn(async move { drop(sender.send(job.await)) });
        receiver.recv().map_err(|_| gone())
    }
}

/// The thread has ended before its work.
pub(crate) fn gone() -> Error {
    Error::Worker { source: std::io::Error::other("the thread of the client has ended") }
}
