//! Where a server is.

use crate::Error;
use reqwest::Url;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The address that the paths of the protocol stand behind, such as `http://127.0.0.1:8000/v1`.
///
/// It holds no secret: one with a user name, a password or a query is refused, and its text is not shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl(Url);

impl FromStr for BaseUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |reason: &'static str| Error::Url { reason };
        let mut url = Url::parse(text.trim()).map_err(|_| {
            wrong("it is no address; expected one such as http://127.0.0.1:8000/v1")
        })?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("it must begin with http:// or https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong(
                "it holds a user name or a password; leave them out and put the key into the environment",
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong(
                "it holds a query (`?…`) or a fragment (`#…`); leave them out and put the key into the environment",
            ));
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Ok(Self(url))
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl BaseUrl {
    /// The address of one part of the protocol, such as `chat/completions`.
    pub(crate) fn at(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(&format!("{}/{path}", self.0.path().trim_end_matches('/')));
        url
    }

    /// True if the server is this machine.
    pub fn is_loopback(&self) -> bool {
        let host = self.0.host_str().unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        match address.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => {
                address.is_loopback() || address.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback())
            }
            Ok(IpAddr::V4(address)) => address.is_loopback(),
            Err(_) => {
                let name = host.trim_end_matches('.');
                name == "localhost" || name.ends_with(".localhost")
            }
        }
    }

    /// What a user should know before anything is sent there.
    pub fn warning(&self, has_key: bool) -> Option<String> {
        if self.0.scheme() == "https" || self.is_loopback() {
            return None;
        }
        let what = if has_key {
            "the key, all prompts and all replies"
        } else {
            "all prompts and replies"
        };
        Some(format!("{self} is not encrypted: anybody on the way can read {what}; use https://"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> BaseUrl {
        text.parse().unwrap()
    }

    #[test]
    fn joins_paths() {
        for (base, expected) in [
            ("http://localhost:8000/v1", "http://localhost:8000/v1/models"),
            ("http://localhost:8000/v1/", "http://localhost:8000/v1/models"),
            ("https://host", "https://host/models"),
            (" https://host/a/b// ", "https://host/a/b/models"),
        ] {
            assert_eq!(parse(base).at("models").as_str(), expected);
        }
        assert_eq!(parse("http://localhost:8000/v1/").to_string(), "http://localhost:8000/v1");
        assert_eq!(parse("https://host").to_string(), "https://host");
    }

    #[test]
    fn secrets_are_refused_and_not_shown() {
        for text in [
            "http://me:secret@host/v1",
            "https://secret@host/v1",
            "https://host/v1?api_key=secret",
            "https://host/v1#secret",
            "ftp://secret",
            "secret",
            "",
        ] {
            let error = text.parse::<BaseUrl>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        }
    }

    #[test]
    fn warns_unless_encrypted_or_local() {
        for quiet in [
            "https://example.org/v1",
            "http://127.0.0.1:1/v1",
            "http://127.8.9.1",
            "http://localhost:1",
            "http://a.localhost",
            "http://[::1]:80/v1",
            "http://[::ffff:127.0.0.1]",
        ] {
            assert_eq!(parse(quiet).warning(true), None, "{quiet}");
        }
        for loud in ["http://example.org", "http://10.0.0.1/v1", "http://localhost.example.org"] {
            assert!(parse(loud).warning(true).unwrap().contains("the key"), "{loud}");
            assert!(!parse(loud).warning(false).unwrap().contains("key"), "{loud}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,40}") {
            let _ = text.parse::<BaseUrl>();
            if let Ok(url) = format!("http://{text}").parse::<BaseUrl>() {
                let _ = (url.warning(true), url.at("models"), url.to_string());
            }
        }
    }
}
