//! From which sites requests come. Whoever reaches a server without keys is answered, and a browser reaches one
//! for every page that it shows: a page's own name may lead to this machine (DNS rebinding), and a page may
//! send to other sites what it can't read the answer of.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::problem::{Cause, Problem};

/// What browsers say of where a request comes from (Fetch Metadata Request Headers, 2.4).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

const NO_HOST: &str = "the request's Host is none";

/// Stands for every host, or origin.
const ALL: &str = "*";

/// What is answered.
#[derive(Debug, Clone)]
pub(crate) struct Sites {
    /// Hosts by which requests may ask, beside this machine's; without these, by any.
    pub(crate) hosts: Option<Arc<[String]>>,
    /// Origins whose pages may ask; without these, those of all may.
    pub(crate) origins: Option<Arc<[String]>>,
}

/// Lets only those requests pass that name one host, and come from where they may.
pub(crate) async fn check(State(sites): State<Sites>, request: Request, next: Next) -> Response {
    match sites.problem(&request) {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    }
}

impl Sites {
    fn problem(&self, request: &Request) -> Option<Problem> {
        let host = match authority(request) {
            Ok(host) => host,
            Err(message) => return Some(Problem::new(Cause::Header, message)),
        };
        // Browsers always name one.
        if let (Some(hosts), Some(host)) = (&self.hosts, &host)
            && !is_this_machine(host.host())
            && !has(hosts, host.host())
        {
            let name = host.host();
            let message = format!(
                "this server answers on its own machine only, not as {name:?}: ask localhost or an address, or \
                 start it with that name in --allowed-hosts"
            );
            return Some(Problem::new(Cause::Forbidden, message));
        }
        let origin = self.foreign_origin(request, host.as_ref())?;
        let message = format!("pages of {origin} may not ask: --cors-origins names those that may");
        Some(Problem::new(Cause::Forbidden, message))
    }

    /// The origin of a request that a page of another site makes and that may change or compute something.
    fn foreign_origin<'a>(
        &self,
        request: &'a Request,
        host: Option<&Authority>,
    ) -> Option<&'a str> {
        let origins = self.origins.as_ref()?;
        let headers = request.headers();
        if [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method()) {
            return None;
        }
        let origin = headers
            .get(ORIGIN)
            .map(|value| value.to_str().unwrap_or("?"));
        if origin.is_some_and(|origin| has(origins, origin)) {
            return None;
        }
        let site = headers.get(SEC_FETCH_SITE).map(|site| site.as_bytes());
        match (site, origin) {
            (Some(b"same-origin" | b"none"), _) | (None, None) => None,
            (Some(_), origin) => Some(origin.unwrap_or("another site")),
            (None, Some(origin)) => {
                let own = origin.split_once("://").map(|(_, own)| own);
                let is_own = own
                    .zip(host)
                    .is_some_and(|(own, host)| own.eq_ignore_ascii_case(host.as_str()));
                (!is_own).then_some(origin)
            }
        }
    }
}

/// The host and port that a request names; HTTP/1.1's must name one (RFC 9112, 3.2).
fn authority(request: &Request) -> Result<Option<Authority>, &'static str> {
    let named = host_header(request.headers())?;
    if named.is_none() && request.version() == Version::HTTP_11 {
        return Err("the request has no Host");
    }
    // What stands in the target is what counts.
    let authority = request.uri().authority().map(Authority::as_str).or(named);
    match authority {
        None | Some("") => Ok(None),
        Some(text) if text.contains('@') => Err(NO_HOST),
        Some(text) => text.parse().map(Some).map_err(|_| NO_HOST),
    }
}

fn host_header(headers: &HeaderMap) -> Result<Option<&str>, &'static str> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err("the request has more than one Host");
    }
    match host.map(HeaderValue::to_str) {
        None => Ok(None),
        Some(Ok(host)) => Ok(Some(host)),
        Some(Err(_)) => Err(NO_HOST),
    }
}

/// An address, which no other site's name leads to, or a name that is always this machine's (RFC 6761, 6.3).
fn is_this_machine(host: &str) -> bool {
    let address = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    address.unwrap_or(host).parse::<IpAddr>().is_ok()
        || name == "localhost"
        || name.ends_with(".localhost")
}

fn has(names: &[String], name: &str) -> bool {
    let same = |known: &String| known == ALL || known.eq_ignore_ascii_case(name);
    names.iter().any(same)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn status(sites: &Sites, request: Request) -> u16 {
        let problem = sites.problem(&request);
        problem.map_or(200, |problem| match problem.cause {
            Cause::Header => 400,
            Cause::Forbidden => 403,
            cause => panic!("{cause:?}"),
        })
    }

    fn post(headers: &[(&str, &str)]) -> Request {
        let mut request = Request::post("/embed");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap()
    }

    fn sites(hosts: &[&str], origins: &[&str]) -> Sites {
        let all = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Sites {
            hosts: Some(all(hosts)),
            origins: Some(all(origins)),
        }
    }

    #[test]
    fn a_request_names_one_host() {
        let any = Sites {
            hosts: None,
            origins: None,
        };
        assert_eq!(status(&any, post(&[])), 400);
        assert_eq!(status(&any, post(&[("host", "a"), ("host", "a")])), 400);
        for wrong in ["a b", "user@a", "a:b:c", "[::1"] {
            assert_eq!(status(&any, post(&[("host", wrong)])), 400, "{wrong}");
        }
        assert_eq!(status(&any, post(&[("host", "a.example:80")])), 200);
        let mut old = post(&[]);
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(status(&any, old), 200);
    }

    #[test]
    fn another_site_s_name_for_this_machine_is_none() {
        let sites = sites(&["embed.example"], &[]);
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "localhost.",
            "app.localhost:1",
            "127.0.0.1:8080",
            "[::1]:8080",
            "192.0.2.7",
            "Embed.Example:8080",
            "",
        ] {
            assert_eq!(status(&sites, post(&[("host", host)])), 200, "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "notlocalhost",
            "embed.example.evil",
        ] {
            assert_eq!(status(&sites, post(&[("host", host)])), 403, "{host}");
        }
        // What stands in the target counts, not the header.
        let mut target = post(&[("host", "localhost")]);
        *target.uri_mut() = "http://evil.example/embed".parse().unwrap();
        assert_eq!(status(&sites, target), 403);
        let mut all = sites;
        all.hosts = Some([ALL.to_owned()].into());
        assert_eq!(status(&all, post(&[("host", "evil.example")])), 200);
    }

    #[test]
    fn pages_of_other_sites_may_not_send() {
        let sites = sites(&[], &["https://app.example"]);
        let with = |headers: &[(&str, &str)]| {
            let host = [("host", "localhost:8080")];
            status(&sites, post(&[&host[..], headers].concat()))
        };
        assert_eq!(with(&[]), 200);
        assert_eq!(with(&[("origin", "http://localhost:8080")]), 200);
        assert_eq!(with(&[("origin", "https://app.example")]), 200);
        for origin in ["https://evil.example", "http://localhost:3000", "null"] {
            assert_eq!(with(&[("origin", origin)]), 403, "{origin}");
        }
        // A browser knows better where a proxy changes the host.
        let behind = ("origin", "https://public.example");
        assert_eq!(with(&[behind, ("sec-fetch-site", "same-origin")]), 200);
        assert_eq!(with(&[("sec-fetch-site", "none")]), 200);
        for site in ["cross-site", "same-site"] {
            assert_eq!(with(&[("sec-fetch-site", site)]), 403, "{site}");
            let allowed = ("origin", "https://app.example");
            assert_eq!(with(&[allowed, ("sec-fetch-site", site)]), 200, "{site}");
        }
        let mut get = post(&[("host", "localhost"), ("origin", "https://evil.example")]);
        *get.method_mut() = Method::GET;
        assert_eq!(status(&sites, get), 200);
    }
}
