//! The Rust code of the gRPC interface is that of its .proto file.
//!
//! `UPDATE_GENERATED=1 cargo test -p akidb-server --test it proto` writes it anew.

use std::fs;
use std::path::Path;

const PACKAGE: &str = "akidb.embedding.v1";

#[test]
fn the_generated_code_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let made = tempfile::tempdir().unwrap();
    let files =
        protox::compile(["akidb/embedding/v1/embedding.proto"], [root.join("proto")]).unwrap();
    let code = |server: bool, name: &str| {
        let mut generator = tonic_prost_build::configure();
        if server {
            generator = generator.codec_path("crate::grpc::codec::Bounded");
        }
        generator
            .build_server(server)
            .build_client(!server)
            .build_transport(false)
            .out_dir(made.path())
            .compile_fds(files.clone())
            .unwrap();
        let path = made.path().join(name);
        fs::rename(made.path().join(format!("{PACKAGE}.rs")), &path).unwrap();
        fs::read(path).unwrap()
    };
    let mut descriptor = Vec::new();
    // Comments are for readers of the file.
    let mut plain = files.clone();
    for file in &mut plain.file {
        file.source_code_info = None;
    }
    prost::Message::encode(&plain, &mut descriptor).unwrap();

    let generated = [
        ("src/grpc/generated/server.rs", code(true, "server.rs")),
        ("tests/it/grpc/generated.rs", code(false, "client.rs")),
        ("src/grpc/generated/descriptor.bin", descriptor),
    ];
    for (path, made) in generated {
        let path = root.join(path);
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            fs::write(&path, &made).unwrap();
        }
        let same = fs::read(&path).is_ok_and(|committed| committed == made);
        assert!(same, "{} is not what the .proto file says", path.display());
    }
}
