//! `models pull` over HTTPS and through proxies.
// Elsewhere than on Linux, certificates are the system's and no file adds to them.
#![cfg(target_os = "linux")]

use crate::common::{Outcome, failed, run_with};
use akidb_testing::{TestHub, TestProxy, fixture};

const COMMIT: &str = "00112233445566778899aabbccddeeff00112233";

/// `Basic` and base64 of `me:hunter2`.
const AUTHORIZATION: &str = "Basic bWU6aHVudGVyMg==";

struct Setup {
    dir: tempfile::TempDir,
    hub: TestHub,
}

fn setup() -> Setup {
    let (hub, authority) = TestHub::with_tls();
    hub.put_directory("akidb/tiny", COMMIT, &fixture("tiny"));
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("authority.pem"), authority).unwrap();
    Setup { dir, hub }
}

impl Setup {
    /// Pulls, with these variables in place of the usual ones.
    fn pull(&self, variables: &[(&str, &str)]) -> Outcome {
        let path = |name: &str| self.dir.path().join(name).to_str().unwrap().to_owned();
        let (home, hf, authority) = (path("home"), path("hf"), path("authority.pem"));
        let endpoint = self.hub.endpoint();
        let mut all = vec![
            ("AKIDB_HOME", home.as_str()),
            ("HF_HOME", &hf),
            ("HF_ENDPOINT", &endpoint),
            ("SSL_CERT_FILE", &authority),
        ];
        let unset = ["HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE"];
        let proxies = ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"];
        let lower = ["all_proxy", "https_proxy", "http_proxy", "no_proxy"];
        let unset = unset.iter().chain(&proxies).chain(&lower);
        all.extend(unset.map(|name| (*name, "")));
        all.extend(variables);
        let out = run_with(
            &[
                "models",
                "pull",
                "akidb/tiny",
                "--variant",
                "f32",
                "--no-verify",
            ],
            b"",
            &all,
        );
        let said = format!("{}{}", out.stdout, out.stderr);
        assert!(
            !said.contains("hunter2") && !said.contains("bWU6"),
            "{said}"
        );
        out
    }
}

#[test]
fn a_model_comes_over_https_and_through_a_proxy() {
    let setup = setup();
    let proxy = TestProxy::start(Some(AUTHORIZATION));
    let url = format!("http://me:hunter2@{}", proxy.address());
    let out = setup.pull(&[("HTTPS_PROXY", &url), ("HF_TOKEN", "secret-token")]);
    assert_eq!(out.code, 0, "{}", out.stderr);
    let mut hosts = proxy.take_log();
    hosts.sort();
    hosts.dedup();
    let names: Vec<_> = hosts.iter().map(|h| h.split(':').next().unwrap()).collect();
    assert_eq!(names, ["hub.test"]);
    let log = setup.hub.take_log();
    assert!(
        log.iter()
            .all(|r| r.authorization.as_deref() == Some("Bearer secret-token"))
    );
    assert!(!out.stderr.contains("secret-token"));
}

#[test]
fn a_certificate_that_nobody_vouches_for_ends_the_pull() {
    let setup = setup();
    let proxy = TestProxy::start(None);
    let url = format!("http://{}", proxy.address());
    let other = setup.dir.path().join("other.pem");
    std::fs::write(&other, TestHub::with_tls().1).unwrap();
    let other = other.to_str().unwrap();
    let out = setup.pull(&[("HTTPS_PROXY", &url), ("SSL_CERT_FILE", other)]);
    failed(
        &out,
        1,
        &[
            "there is no secure connection",
            "invalid peer certificate",
            "SSL_CERT_FILE",
        ],
    );
    // It is not tried again, and nothing was asked for.
    assert_eq!(proxy.take_log().len(), 1);
    assert_eq!(setup.hub.take_log(), []);
}

#[test]
fn a_proxy_that_refuses_is_told() {
    let setup = setup();
    let proxy = TestProxy::start(Some(AUTHORIZATION));
    for user in ["", "me:wrong-hunter2@"] {
        let url = format!("http://{user}{}", proxy.address());
        let out = setup.pull(&[("ALL_PROXY", &url)]);
        failed(
            &out,
            1,
            &[
                "the proxy refuses the connection",
                "407",
                "hint: check HTTPS_PROXY",
            ],
        );
        assert_eq!(proxy.take_log().len(), 1);
    }
}

#[test]
fn a_proxy_that_is_misspelt_is_not_ignored() {
    let setup = setup();
    for url in [
        "http://",
        "ftp://me:hunter2@proxy.test:1",
        "htps://proxy.test",
    ] {
        let out = setup.pull(&[("HTTPS_PROXY", url)]);
        failed(
            &out,
            2,
            &["HTTPS_PROXY is not the address of a proxy", "hint: "],
        );
    }
}

#[test]
fn a_socks_proxy_is_not_passed_by() {
    let setup = setup();
    let hub = TestHub::start();
    hub.put_directory("akidb/tiny", COMMIT, &fixture("tiny"));
    // Nobody listens there: a pull that works has gone around it.
    let proxy = ("ALL_PROXY", "socks5h://127.0.0.1:1");
    let out = setup.pull(&[proxy, ("HF_ENDPOINT", &hub.endpoint())]);
    assert_eq!(out.code, 1);
    assert!(
        out.stderr.contains("could not be fetched"),
        "{}",
        out.stderr
    );
    assert_eq!(hub.take_log(), []);
}
