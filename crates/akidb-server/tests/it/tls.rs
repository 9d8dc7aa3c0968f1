//! TLS: both protocols of HTTP, and a certificate that changes.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::common::{Running, connect, rest, settings};
use akidb_server::Settings;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Writes an identity for `localhost`; gives the certificate.
fn identity(directory: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(directory.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(directory.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}

fn over_tls(
    server: &Running,
    trusted: &CertificateDer<'static>,
    protocols: &[&[u8]],
) -> StreamOwned<ClientConnection, std::net::TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let name = "localhost".try_into().unwrap();
    let client = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(client, connect(server.address()))
}

fn trusts(server: &Running, certificate: &CertificateDer<'static>) -> bool {
    let mut stream = over_tls(server, certificate, &[]);
    stream.write_all(b"GET /health HTTP/1.0\r\n\r\n").is_ok()
        && rest(&mut stream).starts_with("HTTP/1.0 200")
}

#[test]
fn a_certificate_is_used_and_read_anew() {
    let directory = tempfile::tempdir().unwrap();
    let first = identity(directory.path());
    let server = Running::start(Settings {
        tls_cert: Some(directory.path().join("cert.pem")),
        tls_key: Some(directory.path().join("key.pem")),
        header_timeout: Duration::from_millis(500),
        ..settings()
    });
    assert!(server.url.starts_with("https://"));
    assert!(trusts(&server, &first));

    // gRPC's clients want HTTP/2.
    let mut stream = over_tls(&server, &first, &[b"h2"]);
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .unwrap();
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).unwrap();
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"h2"[..]));
    assert_eq!(frame[3], 4, "a SETTINGS frame");

    // Whoever doesn't speak TLS gets nothing, and holds no connection.
    let start = Instant::now();
    let mut silent = connect(server.address());
    assert_eq!(rest(&mut silent), "");
    assert!(start.elapsed() < Duration::from_secs(10));
    let mut plain = connect(server.address());
    plain.write_all(b"GET /health HTTP/1.0\r\n\r\n").unwrap();
    assert!(!rest(&mut plain).contains("200"));

    #[cfg(unix)]
    {
        let second = identity(directory.path());
        let id = std::process::id().to_string();
        let hang_up = || {
            std::process::Command::new("kill")
                .args(["-HUP", &id])
                .status()
        };
        hang_up().unwrap();
        let start = Instant::now();
        while !trusts(&server, &second) {
            assert!(start.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(!trusts(&server, &first));

        std::fs::write(directory.path().join("key.pem"), "no key").unwrap();
        hang_up().unwrap();
        std::thread::sleep(Duration::from_millis(300));
        assert!(trusts(&server, &second));
    }
}

#[test]
fn files_that_are_no_identity_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    identity(directory.path());
    identity(other.path());
    let cert = directory.path().join("cert.pem");
    let error = |key: &Path| {
        let settings = Settings {
            tls_cert: Some(cert.clone()),
            tls_key: Some(key.to_owned()),
            ..settings()
        };
        let service = Arc::new(akidb_server::EmbeddingService::new(settings).unwrap());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let error = runtime.block_on(akidb_server::serve(service)).unwrap_err();
        assert!(error.is_usage());
        std::error::Error::source(&error).unwrap().to_string()
    };
    assert!(error(&cert).contains("private key"), "no key in it");
    assert!(
        error(&other.path().join("key.pem")).contains("belong"),
        "another's key"
    );
    assert!(error(&directory.path().join("none.pem")).contains("none.pem"));
}
