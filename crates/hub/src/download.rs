//! Files from the hub into the cache.

use crate::cache::{CONFIG, INDEX, OPTIONAL, Snapshot, TOKENIZER, WEIGHTS, is_commit, shards};
use crate::{Error, ModelId, Progress, Settings};
use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// How often an interrupted download goes on where it stopped.
const RETRIES: usize = 3;

/// Fetches what the cache lacks of a model, and gives its folder.
///
/// The commit is settled first and all files are of that commit. The revision's name points to it only when everything is
/// there.
pub(crate) fn download(
    settings: &Settings,
    model: &ModelId,
    progress: &mut dyn Progress,
) -> Result<PathBuf, Error> {
    let source = Source::connect(settings, model)?;
    let info = source.api.repo(source.repo(model.revision())).info();
    let info = info.map_err(|error| source.error(error))?;
    if !is_commit(&info.sha) {
        return Err(source.answer(format!("the commit {:?}", info.sha)));
    }
    let files: Vec<&str> = info.siblings.iter().map(|file| file.rfilename.as_str()).collect();
    let weights = check(model, &files)?;
    let commit = Commit {
        repo: source.api.repo(source.repo(&info.sha)),
        snapshot: Snapshot::of(&settings.cache, model, &info.sha),
        source,
    };
    for file in [CONFIG, TOKENIZER] {
        commit.fetch(file, progress)?;
    }
    for file in OPTIONAL {
        if files.contains(&file) {
            commit.fetch(file, progress)?;
        } else {
            let noted = commit.snapshot.note_lack(file);
            noted.map_err(|source| Error::Cache { path: settings.cache.clone(), source })?;
        }
    }
    commit.fetch(weights, progress)?;
    if weights == INDEX {
        for shard in commit.shards()? {
            commit.fetch(&shard, progress)?;
        }
    }
    let names = Cache::new(settings.cache.clone()).repo(commit.source.repo(model.revision()));
    let named = names.create_ref(&info.sha);
    named.map_err(|source| Error::Cache { path: settings.cache.clone(), source })?;
    Ok(commit.snapshot.folder)
}

/// Checks that a model is of a kind that can be read; says which file its weights begin with.
fn check(model: &ModelId, files: &[&str]) -> Result<&'static str, Error> {
    let missing = |file, advice: &str| {
        let advice = advice.to_owned();
        Err(Error::MissingFile { model: model.clone(), file, advice })
    };
    if !files.contains(&CONFIG) {
        return missing(CONFIG, "it is not a model that `transformers` opens; choose another");
    }
    if !files.contains(&TOKENIZER) {
        return missing(
            TOKENIZER,
            "fetch it with `transformers`, save tokenizer and model into one folder, and give that folder",
        );
    }
    if let Some(weights) = [WEIGHTS, INDEX].into_iter().find(|weights| files.contains(weights)) {
        return Ok(weights);
    }
    let other = |ends: &[&str]| {
        let end = |file: &&&str| {
            Path::new(file).extension().is_some_and(|end| ends.iter().any(|e| end == *e))
        };
        files.iter().find(end)
    };
    match other(&["bin", "pt", "pth", "gguf", "h5", "msgpack", "onnx"]) {
        Some(found) => {
            let advice = format!(
                "its weights are in another format ({found}): open it with `transformers` and write it with \
                 `model.save_pretrained(folder)`, or look for a revision with safetensors"
            );
            Err(Error::MissingFile { model: model.clone(), file: WEIGHTS, advice })
        }
        None => missing(WEIGHTS, "it has no weights; choose another"),
    }
}

/// The hub, and the model that is asked for.
struct Source<'a> {
    settings: &'a Settings,
    model: &'a ModelId,
    api: Api,
}

impl<'a> Source<'a> {
    fn connect(settings: &'a Settings, model: &'a ModelId) -> Result<Self, Error> {
        settings.check_token()?;
        let api = ApiBuilder::from_cache(Cache::new(settings.cache.clone()))
            .with_endpoint(settings.endpoint.clone())
            .with_token(settings.token.clone())
            .with_retries(RETRIES)
            .build();
        let request = |message| Error::Request {
            model: model.clone(),
            endpoint: settings.endpoint.clone(),
            message,
            cache: settings.cache.clone(),
        };
        Ok(Self { settings, model, api: api.map_err(|error| request(error.to_string()))? })
    }

    fn repo(&self, revision: &str) -> Repo {
        let name = self.model.name().to_owned();
        Repo::with_revision(name, RepoType::Model, revision.to_owned())
    }

    fn answer(&self, what: String) -> Error {
        Error::Answer { model: self.model.clone(), endpoint: self.settings.endpoint.clone(), what }
    }

    /// Says what a failed request means.
    fn error(&self, error: ApiError) -> Error {
        let (model, endpoint) = (self.model.clone(), self.settings.endpoint.clone());
        let cache = self.settings.cache.clone();
        match error {
            ApiError::TooManyRetries(last) => self.error(*last),
            ApiError::IoError(source) if is_of_files(source.kind()) => {
                Error::Cache { path: cache, source }
            }
            ApiError::IoError(error) => {
                Error::Request { model, endpoint, message: error.to_string(), cache }
            }
            ApiError::RequestError(error) => match *error {
                ureq::Error::StatusCode(404) => Error::NotFound { model, endpoint },
                ureq::Error::StatusCode(status @ (401 | 403)) => {
                    Error::Access { model, endpoint, status }
                }
                error => Error::Request { model, endpoint, message: error.to_string(), cache },
            },
            ApiError::LockAcquisition(path) => {
                let message = "another program is downloading it; wait for that";
                let source = io::Error::new(ErrorKind::ResourceBusy, message);
                Error::Cache { path, source }
            }
            error => self.answer(error.to_string()),
        }
    }
}

/// Whether an error concerns the cache rather than the network; both are written to and read from at once.
fn is_of_files(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::AlreadyExists
            | ErrorKind::IsADirectory
            | ErrorKind::NotADirectory
            | ErrorKind::NotFound
            | ErrorKind::PermissionDenied
            | ErrorKind::QuotaExceeded
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::StorageFull
    )
}

/// One commit of a model.
struct Commit<'a> {
    source: Source<'a>,
    repo: ApiRepo,
    snapshot: Snapshot,
}

impl Commit<'_> {
    /// Fetches a file unless it is there, and checks that it is the one announced.
    fn fetch(&self, file: &str, progress: &mut dyn Progress) -> Result<(), Error> {
        if self.snapshot.holds(file) {
            return Ok(());
        }
        let announced = self.source.api.metadata(&self.repo.url(file));
        let announced = announced.map_err(|error| self.source.error(error))?;
        // It becomes the name of a file.
        let etag = announced.etag();
        if etag.is_empty()
            || !etag.bytes().all(|letter| letter.is_ascii_alphanumeric() || letter == b'-')
        {
            return Err(self.source.answer(format!("the name {etag:?} for {file}")));
        }
        let link = self.snapshot.folder.join(file);
        if link.is_symlink() {
            // It leads to a file that was removed.
            fs::remove_file(&link).map_err(|source| Error::Cache { path: link.clone(), source })?;
        }
        let part = self.blob(etag).with_extension("part");
        if fs::metadata(&part).is_ok_and(|found| found.len() >= announced.size() as u64) {
            // What is left of a download that was cut off is continued, but here nothing is left to ask for.
            fs::remove_file(&part).map_err(|source| Error::Cache { path: part, source })?;
        }
        let path = self.repo.download_with_progress(file, Watched(progress));
        let path = path.map_err(|error| self.source.error(error))?;
        let failed = |source| Error::Cache { path: path.clone(), source };
        match damage(&path, announced.size() as u64, etag).map_err(failed)? {
            None => Ok(()),
            Some(message) => {
                let _ = fs::remove_file(&path);
                Err(self.remove(file, &self.blob(etag), message))
            }
        }
    }

    /// Where the cache keeps a file's content.
    fn blob(&self, etag: &str) -> PathBuf {
        let cache = Cache::new(self.source.settings.cache.clone());
        cache.repo(self.source.repo(self.source.model.revision())).blob_path(etag)
    }

    /// Removes a damaged file, so that the next attempt begins anew.
    fn remove(&self, file: &str, path: &Path, message: String) -> Error {
        match fs::remove_file(path) {
            Ok(()) => Error::Incomplete {
                model: self.source.model.clone(),
                file: file.to_owned(),
                message,
            },
            Err(source) => Error::Cache { path: path.to_owned(), source },
        }
    }

    /// The files that the index names.
    fn shards(&self) -> Result<impl Iterator<Item = String> + use<>, Error> {
        let path = self.snapshot.folder.join(INDEX);
        let index = fs::read(&path).map_err(|source| Error::Cache { path, source })?;
        let shards = shards(&index);
        let shards = shards.map_err(|what| self.source.answer(format!("an index: {what}")))?;
        Ok(shards.into_iter())
    }
}

/// What is wrong with a downloaded file. Large files are named for the SHA-256 of their content.
fn damage(path: &Path, bytes: u64, etag: &str) -> io::Result<Option<String>> {
    let found = fs::metadata(path)?.len();
    if found != bytes {
        return Ok(Some(format!("it has {found} bytes, expected {bytes}")));
    }
    if etag.len() == 64 {
        let mut hash = Sha256::new();
        io::copy(&mut File::open(path)?, &mut hash)?;
        let found = format!("{:x}", hash.finalize());
        if found != etag {
            return Ok(Some(format!("its SHA-256 is {found}, expected {etag}")));
        }
    }
    Ok(None)
}

/// Passes on what `hf-hub` tells.
struct Watched<'a>(&'a mut dyn Progress);

impl hf_hub::api::Progress for Watched<'_> {
    fn init(&mut self, size: usize, file: &str) {
        self.0.start(file, size as u64);
    }

    fn update(&mut self, size: usize) {
        self.0.advance(size as u64);
    }

    fn finish(&mut self) {
        self.0.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_files_are_told_from_those_of_the_network() {
        let cache = PathBuf::from("/cache");
        let endpoint = "http://localhost".to_owned();
        let settings = Settings { cache, endpoint, token: None, offline: false };
        let model = ModelId::parse("owner/tiny").unwrap();
        let source = Source::connect(&settings, &model).unwrap();
        let failed = |kind: ErrorKind| source.error(ApiError::IoError(kind.into()));
        assert!(matches!(failed(ErrorKind::StorageFull), Error::Cache { .. }));
        assert!(matches!(failed(ErrorKind::ConnectionReset), Error::Request { .. }));
        let retried = ApiError::TooManyRetries(Box::new(ApiError::MissingHeader("ETag")));
        assert!(matches!(source.error(retried), Error::Answer { .. }));
        let message = source.error(ApiError::LockAcquisition("/cache/x.lock".into())).to_string();
        assert!(message.contains("/cache/x.lock") && message.contains("another program"));
    }
}
