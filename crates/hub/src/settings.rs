//! Where models are kept and fetched from.

use crate::Error;
use std::fmt;
use std::path::{Path, PathBuf};

const ENDPOINT: &str = "https://huggingface.co";

/// Where models are kept and fetched from, as the environment says to all Hugging Face programs.
///
/// | variable | default | meaning |
/// |---|---|---|
/// | `HF_HOME` | `~/.cache/huggingface` | folder of cache (`hub`) and token (`token`) |
/// | `HF_HUB_CACHE` | `$HF_HOME/hub` | folder of the cache |
/// | `HF_HUB_OFFLINE` | off | `1`: use the cache and never the network |
/// | `HF_ENDPOINT` | `https://huggingface.co` | the server |
/// | `HF_TOKEN` | that of `huggingface-cli login` | who asks, for private and gated models; never shown |
#[derive(Clone)]
pub struct Settings {
    /// The folder of the cache.
    pub cache: PathBuf,
    /// The server, without a slash at the end.
    pub endpoint: String,
    /// Who asks.
    pub token: Option<String>,
    /// Whether only the cache is used.
    pub offline: bool,
}

impl Settings {
    /// Reads the environment, and the token's file if there is one.
    ///
    /// # Errors
    /// [`Error::NoCache`] if neither the environment nor the system names a folder for the cache.
    pub fn from_env() -> Result<Self, Error> {
        let home = std::env::home_dir();
        Self::from_variables(|name| std::env::var(name).ok(), home.as_deref())
    }

    fn from_variables(
        variable: impl Fn(&str) -> Option<String>,
        home: Option<&Path>,
    ) -> Result<Self, Error> {
        let variable = |name| variable(name).filter(|value| !value.trim().is_empty());
        let path = |name| variable(name).map(PathBuf::from);
        let hugging_face = path("HF_HOME")
            .or_else(|| Some(path("XDG_CACHE_HOME")?.join("huggingface")))
            .or_else(|| Some(home?.join(".cache/huggingface")));
        let cache = path("HF_HUB_CACHE")
            .or_else(|| Some(hugging_face.as_ref()?.join("hub")))
            .ok_or(Error::NoCache)?;
        let saved = || {
            let file = path("HF_TOKEN_PATH").or_else(|| Some(hugging_face?.join("token")));
            std::fs::read_to_string(file?).ok()
        };
        let token = variable("HF_TOKEN").or_else(saved);
        Ok(Self {
            cache: std::path::absolute(&cache).unwrap_or(cache),
            endpoint: variable("HF_ENDPOINT").map_or_else(
                || ENDPOINT.to_owned(),
                |url| url.trim().trim_end_matches('/').to_owned(),
            ),
            token: token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()),
            offline: variable("HF_HUB_OFFLINE").is_some_and(|value| is_true(&value)),
        })
    }

    /// Refuses to send a token in the clear.
    pub(crate) fn check_token(&self) -> Result<(), Error> {
        if self.token.is_none() || self.endpoint.starts_with("https://") || self.is_loopback() {
            return Ok(());
        }
        Err(Error::Insecure { endpoint: self.endpoint.clone() })
    }

    fn is_loopback(&self) -> bool {
        let Some(rest) = self.endpoint.strip_prefix("http://") else { return false };
        let authority = rest.split('/').next().unwrap_or_default();
        ["localhost", "127.0.0.1", "[::1]"].into_iter().any(|host| {
            authority
                .strip_prefix(host)
                .is_some_and(|port| port.is_empty() || port.starts_with(':') && !port.contains('@'))
        })
    }
}

/// Leaves out the token.
impl fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Settings")
            .field("cache", &self.cache)
            .field("endpoint", &self.endpoint)
            .field("token", &self.token.as_ref().map(|_| "set"))
            .field("offline", &self.offline)
            .finish()
    }
}

/// The values that the Python libraries take for yes.
fn is_true(value: &str) -> bool {
    ["1", "on", "yes", "true"].contains(&value.trim().to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Settings {
        let variable = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Settings::from_variables(variable, Some(Path::new("/home/me"))).unwrap()
    }

    #[test]
    fn the_environment_decides_as_elsewhere() {
        let plain = settings(&[]);
        assert_eq!(plain.cache, Path::new("/home/me/.cache/huggingface/hub"));
        assert_eq!((plain.endpoint.as_str(), plain.offline), (ENDPOINT, false));
        assert_eq!(plain.token, None);
        assert_eq!(settings(&[("HF_HOME", "/hf")]).cache, Path::new("/hf/hub"));
        assert_eq!(settings(&[("XDG_CACHE_HOME", "/x")]).cache, Path::new("/x/huggingface/hub"));
        let both =
            settings(&[("HF_HOME", "/hf"), ("HF_HUB_CACHE", "/c"), ("HF_HUB_OFFLINE", "Yes")]);
        assert_eq!((both.cache.as_path(), both.offline), (Path::new("/c"), true));
        assert!(!settings(&[("HF_HUB_OFFLINE", "0")]).offline);
        assert_eq!(settings(&[("HF_ENDPOINT", "http://h/ ")]).endpoint, "http://h");
        assert!(matches!(Settings::from_variables(|_| None, None), Err(Error::NoCache)));
    }

    #[test]
    fn a_saved_token_is_read_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "hf_saved\n").unwrap();
        let home = folder.path().to_str().unwrap();
        let saved = settings(&[("HF_HOME", home)]);
        assert_eq!(saved.token.as_deref(), Some("hf_saved"));
        assert!(!format!("{saved:?}").contains("hf_saved"));
        let given = settings(&[("HF_HOME", home), ("HF_TOKEN", " hf_given ")]);
        assert_eq!(given.token.as_deref(), Some("hf_given"));
    }

    #[test]
    fn tokens_do_not_travel_in_the_clear() {
        let check = |endpoint: &str| {
            settings(&[("HF_TOKEN", "t"), ("HF_ENDPOINT", endpoint)]).check_token().is_ok()
        };
        for endpoint in ["https://h", "http://localhost:80", "http://127.0.0.1:1/x", "http://[::1]"]
        {
            assert!(check(endpoint), "{endpoint}");
        }
        for endpoint in [
            "http://h",
            "http://localhost.h",
            "http://127.0.0.1:a@h",
            "http://localhost@h",
            "ftp://h",
        ] {
            assert!(!check(endpoint), "{endpoint}");
        }
        assert!(settings(&[("HF_ENDPOINT", "http://h")]).check_token().is_ok());
    }
}
