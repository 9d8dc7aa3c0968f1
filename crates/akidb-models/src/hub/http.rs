//! Requests, and what their answers mean.

use std::io::{ErrorKind, Read};
use std::time::{Duration, SystemTime};

use ureq::http::{Response, StatusCode, Uri, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Proxy, ResponseExt as _};

use super::HubOptions;
use super::retry::{Failure, retry_after};
use crate::error::Error;

/// Most addresses that one request is sent on to.
const MAX_REDIRECTS: usize = 10;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(15);

/// The variables that name proxies, in the order in which they are looked at.
const PROXIES: [&str; 6] = [
    "ALL_PROXY",
    "all_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
];

/// Asks a hub.
pub(crate) struct Http {
    agent: Agent,
    endpoint: Uri,
    authorization: Option<String>,
}

/// An answer with a body.
pub(crate) struct Body {
    pub(crate) response: Response<ureq::Body>,
    /// Where it came from in the end.
    pub(crate) url: String,
    /// What the hub itself said of the file, before it sent the request on.
    pub(crate) etag: Option<String>,
    pub(crate) size: Option<u64>,
}

impl Http {
    pub(crate) fn new(options: &HubOptions) -> Result<Self, Error> {
        let wrong = |why: &str| Error::Url {
            // What is before an @ may be a secret.
            url: options
                .endpoint
                .rsplit('@')
                .next()
                .unwrap_or_default()
                .to_owned(),
            why: why.to_owned(),
        };
        if options.endpoint.contains('@') {
            return Err(wrong("it names a user; HF_TOKEN takes secrets"));
        }
        let trimmed = options.endpoint.trim_end_matches('/');
        let endpoint: Uri = trimmed.parse().map_err(|_| wrong("it is not an address"))?;
        if !matches!(endpoint.scheme_str(), Some("http" | "https")) || endpoint.host().is_none() {
            return Err(wrong(
                "it does not start with http:// or https:// and a host",
            ));
        }
        if endpoint.query().is_some() {
            return Err(wrong("it has a query"));
        }
        check_proxy()?;
        let authorization = options.token.as_ref().map(super::Token::header);
        if let Some(header) = &authorization
            && !header.bytes().all(|c| c == b' ' || c.is_ascii_graphic())
        {
            return Err(Error::BadToken);
        }
        let agent = Agent::config_builder()
            .user_agent(concat!("akidb-embedding/", env!("CARGO_PKG_VERSION")))
            // Checksums and sizes are those of the file, not of a compressed form.
            .accept_encoding("identity")
            .http_status_as_error(false)
            // Each step is looked at.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(options.silence))
            .timeout_per_write(Some(options.silence))
            .max_idle_connections_per_host(options.connections.max(1))
            .tls_config(
                TlsConfig::builder()
                    .root_certs(RootCerts::PlatformVerifier)
                    .build(),
            )
            .build()
            .new_agent();
        Ok(Self {
            agent,
            endpoint,
            authorization,
        })
    }

    /// The address of a path on the hub.
    pub(crate) fn url(&self, path: &str) -> String {
        let endpoint = self.endpoint.to_string();
        format!("{}{path}", endpoint.trim_end_matches('/'))
    }

    /// Whether the address is the hub's own.
    pub(crate) fn is_own(&self, url: &str) -> bool {
        url.parse::<Uri>()
            .is_ok_and(|url| origin(&url) == origin(&self.endpoint))
    }

    /// Gets `url`, from byte `from` to byte `to` (excluded) where these are given. `what` names it in
    /// errors.
    pub(crate) fn get(
        &self,
        url: &str,
        range: Option<(u64, u64)>,
        what: &str,
    ) -> Result<Body, Failure> {
        let body = self.follow(url, range, false, what)?;
        self.check(body, what)
    }

    /// What the hub says of `url`, without its body.
    pub(crate) fn head(&self, url: &str, what: &str) -> Result<Body, Failure> {
        let body = self.follow(url, None, true, what)?;
        self.check(body, what)
    }

    /// Gets the whole of a short answer.
    pub(crate) fn text(&self, url: &str, limit: u64, what: &str) -> Result<Vec<u8>, Failure> {
        let body = self.get(url, None, what)?;
        let mut bytes = Vec::new();
        let mut reader = body.response.into_body().into_reader().take(limit + 1);
        reader.read_to_end(&mut bytes).map_err(Failure::passing)?;
        if bytes.len() as u64 > limit {
            return Err(protocol(what, &format!("it has more than {limit} bytes")));
        }
        Ok(bytes)
    }

    fn follow(
        &self,
        url: &str,
        range: Option<(u64, u64)>,
        head: bool,
        what: &str,
    ) -> Result<Body, Failure> {
        let mut seen = vec![url.to_owned()];
        let (mut etag, mut size) = (None, None);
        loop {
            let url = seen.last().map(String::as_str).unwrap_or_default();
            let mut request = if head {
                self.agent.head(url)
            } else {
                self.agent.get(url)
            };
            if let Some((from, to)) = range {
                let last = to.saturating_sub(1);
                request = request.header(header::RANGE, format!("bytes={from}-{last}"));
            }
            if let Some(authorization) = &self.authorization
                && self.is_own(url)
            {
                request = request.header(header::AUTHORIZATION, authorization);
            }
            let response = request.call().map_err(|e| failure(e, url, what))?;
            let text = |name: &str| {
                let value = response.headers().get(name)?.to_str().ok()?;
                Some(value.to_owned())
            };
            // The hub's own word comes before that of the servers that it sends on to.
            etag = etag
                .or_else(|| text("x-linked-etag"))
                .or_else(|| text("etag"));
            size = size.or_else(|| text("x-linked-size")?.parse().ok());
            let location = text("location").filter(|_| response.status().is_redirection());
            let Some(location) = location else {
                return Ok(Body {
                    url: response.get_uri().to_string(),
                    etag: etag.map(|tag| plain_etag(&tag)),
                    size,
                    response,
                });
            };
            // A server that stores files answers for the hub: what it says of them is enough.
            if head && etag.is_some() && size.is_some() {
                let url = url.to_owned();
                return Ok(Body {
                    url,
                    etag: etag.map(|tag| plain_etag(&tag)),
                    size,
                    response,
                });
            }
            let next = resolve(url, &location)
                .ok_or_else(|| protocol(what, "it is redirected to no address"))?;
            if url.starts_with("https:") && !next.starts_with("https:") {
                return Err(protocol(what, "it is redirected from https to http"));
            }
            if seen.contains(&next) || seen.len() > MAX_REDIRECTS {
                return Err(Failure::Final(Error::RedirectLoop {
                    what: what.to_owned(),
                }));
            }
            seen.push(next);
        }
    }

    fn check(&self, body: Body, what: &str) -> Result<Body, Failure> {
        let status = body.response.status();
        if status.is_success() || status.is_redirection() {
            return Ok(body);
        }
        let own = self.is_own(&body.url);
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if own => {
                Failure::Final(Error::Refused {
                    what: what.to_owned(),
                    status: status.as_u16(),
                    with_token: self.authorization.is_some(),
                })
            }
            StatusCode::NOT_FOUND if own => Failure::Final(Error::NotFound {
                what: what.to_owned(),
            }),
            StatusCode::RANGE_NOT_SATISFIABLE => {
                protocol(what, "the file is shorter than the hub's listing says")
            }
            // Addresses that the hub sends on to are valid for a while.
            StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND
            | StatusCode::GONE
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS => passing(&body.response),
            status if status.is_server_error() => passing(&body.response),
            status => protocol(
                what,
                &format!("the server answers with HTTP {}", status.as_u16()),
            ),
        })
    }
}

fn passing(response: &Response<ureq::Body>) -> Failure {
    let after = response.headers().get(header::RETRY_AFTER);
    let after = after.and_then(|value| value.to_str().ok());
    Failure::Passing {
        why: format!(
            "the server answers with HTTP {}",
            response.status().as_u16()
        ),
        after: after.and_then(|value| retry_after(value, SystemTime::now())),
    }
}

pub(super) fn protocol(what: &str, why: &str) -> Failure {
    Failure::Final(Error::Protocol {
        what: what.to_owned(),
        why: why.to_owned(),
    })
}

/// Errors before an answer. Their text names no header, and so no token, and no password of a proxy.
fn failure(error: ureq::Error, url: &str, what: &str) -> Failure {
    let what = || what.to_owned();
    let insecure = |why: String| Failure::Final(Error::Insecure { what: what(), why });
    match error {
        ureq::Error::Rustls(e) => insecure(e.to_string()),
        ureq::Error::Tls(why) => insecure(why.to_owned()),
        // What the TLS library says of the other side's messages and certificates.
        ureq::Error::Io(e) if e.kind() == ErrorKind::InvalidData => insecure(e.to_string()),
        ureq::Error::ConnectProxyFailed(why) if why.contains("responded 4") => {
            Failure::Final(Error::ProxyRefuses { what: what(), why })
        }
        ureq::Error::BadUri(_) => protocol(&what(), &error.to_string()),
        other => match url
            .parse::<Uri>()
            .ok()
            .and_then(|url| url.authority().cloned())
        {
            // Without a name and a password.
            Some(authority) => {
                Failure::passing(format!("{}: {other}", host_of(authority.as_str())))
            }
            None => Failure::passing(other),
        },
    }
}

/// A host and its port.
fn host_of(authority: &str) -> &str {
    authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host)
}

/// Fails when proxies are named and none of the names is understood: without a proxy, a request
/// would go where it is not meant to go.
fn check_proxy() -> Result<(), Error> {
    let set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    match PROXIES.into_iter().find(set) {
        Some(variable) if Proxy::try_from_env().is_none() => Err(Error::Proxy { variable }),
        _ => Ok(()),
    }
}

/// Without quotation marks and the mark of weak tags.
fn plain_etag(tag: &str) -> String {
    tag.strip_prefix("W/")
        .unwrap_or(tag)
        .trim_matches('"')
        .to_owned()
}

fn origin(url: &Uri) -> (Option<&str>, Option<&str>, Option<u16>) {
    let port = match url.scheme_str() {
        Some("https") => 443,
        _ => 80,
    };
    (url.scheme_str(), url.host(), url.port_u16().or(Some(port)))
}

/// The address that `location` means on the page `url`.
fn resolve(url: &str, location: &str) -> Option<String> {
    let base: Uri = url.parse().ok()?;
    let scheme = base.scheme_str()?;
    let absolute = if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{}{location}", base.authority()?)
    } else {
        location.to_owned()
    };
    let parsed: Uri = absolute.parse().ok()?;
    let http = matches!(parsed.scheme_str(), Some("http" | "https"));
    (http && parsed.host().is_some()).then_some(absolute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_resolved_against_the_page() {
        let from = |location| resolve("https://hub.example:8/a/b?c", location);
        assert_eq!(from("/x?y").unwrap(), "https://hub.example:8/x?y");
        assert_eq!(from("//cdn.example/x").unwrap(), "https://cdn.example/x");
        assert_eq!(from("http://a/b").unwrap(), "http://a/b");
        for wrong in ["ftp://a/b", "x", "", "javascript:1", "https://"] {
            assert_eq!(from(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_host_that_does_not_answer_is_named_without_what_is_secret() {
        let error = || ureq::Error::HostNotFound;
        let url = "https://me:secret@hub.example:8443/api?token=x";
        let Failure::Passing { why, .. } = failure(error(), url, "the listing") else {
            panic!("it may come back");
        };
        assert!(why.starts_with("hub.example:8443: "), "{why}");
    }

    #[test]
    fn the_token_goes_to_the_hub_only() {
        let http = Http::new(&HubOptions {
            endpoint: "https://hub.example/".to_owned(),
            ..HubOptions::default()
        })
        .unwrap();
        assert!(http.is_own("https://hub.example/a"));
        assert!(http.is_own("https://hub.example:443/a"));
        for other in [
            "https://hub.example:444/a",
            "http://hub.example/a",
            "https://hub.example.evil/a",
            "https://hub.example@evil/a",
            "https://cdn.hub.example/a",
        ] {
            assert!(!http.is_own(other), "{other}");
        }
        assert_eq!(http.url("/api"), "https://hub.example/api");
    }

    #[test]
    fn a_token_that_no_header_can_hold_is_told_without_it() {
        for token in ["hunter2\nX-Evil: 1", "hünter2"] {
            let options = HubOptions {
                token: Some(super::super::Token::new(token)),
                ..HubOptions::default()
            };
            let error = Http::new(&options).err().unwrap();
            assert!(matches!(error, Error::BadToken), "{error}");
            assert!(!format!("{error} {error:?}").contains("nter2"));
        }
    }

    #[test]
    fn an_endpoint_is_an_http_address() {
        for endpoint in [
            "",
            "huggingface.co",
            "ftp://a",
            "https://a/?b",
            "file:///etc",
            "https://me:hunter2@a",
        ] {
            let options = HubOptions {
                endpoint: endpoint.to_owned(),
                ..HubOptions::default()
            };
            let error = Http::new(&options).err().unwrap();
            assert!(matches!(error, Error::Url { .. }), "{endpoint}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
