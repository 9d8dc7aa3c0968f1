//! The Rust code of the gRPC interface is that of its .proto files.
//!
//! `UPDATE_GENERATED=1 cargo test -p akidb-server --test it proto` writes it anew.

use std::fs;
use std::path::Path;

/// Each file, its package, and where its server's and its client's code are.
const FILES: [(&str, &str, &str, &str); 2] = [
    (
        "akidb/embedding/v1/embedding.proto",
        "akidb.embedding.v1",
        "src/grpc/generated/server.rs",
        "tests/it/grpc/generated.rs",
    ),
    (
        "tei/v1/tei.proto",
        "tei.v1",
        "src/grpc/generated/tei.rs",
        "tests/it/grpc/generated_tei.rs",
    ),
];

#[test]
fn the_generated_code_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let made = tempfile::tempdir().unwrap();
    let mut generated = Vec::new();
    for (file, package, server, client) in FILES {
        let files = protox::compile([file], [root.join("proto")]).unwrap();
        for (path, is_server) in [(server, true), (client, false)] {
            let mut generator = tonic_prost_build::configure();
            if is_server {
                generator = generator.codec_path("crate::grpc::codec::Bounded");
            }
            generator
                .build_server(is_server)
                .build_client(!is_server)
                .build_transport(false)
                .out_dir(made.path())
                .compile_fds(files.clone())
                .unwrap();
            let code = fs::read(made.path().join(format!("{package}.rs"))).unwrap();
            generated.push((path, code));
        }
    }
    let files = FILES.map(|(file, ..)| file);
    let mut files = protox::compile(files, [root.join("proto")]).unwrap();
    // Comments are for readers of the files.
    for file in &mut files.file {
        file.source_code_info = None;
    }
    let mut descriptor = Vec::new();
    prost::Message::encode(&files, &mut descriptor).unwrap();
    generated.push(("src/grpc/generated/descriptor.bin", descriptor));

    for (path, made) in generated {
        let path = root.join(path);
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            fs::write(&path, &made).unwrap();
        }
        let same = fs::read(&path).is_ok_and(|committed| committed == made);
        assert!(same, "{} is not what the .proto file says", path.display());
    }
}
