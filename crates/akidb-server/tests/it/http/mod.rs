//! The server over HTTP, interface by interface.

mod cohere;
mod document;
mod errors;
mod ollama;
mod openai;
mod rerank;
mod tei;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use akidb_embedding::{EmbedOptions, Embedder};
use akidb_server::{EmbeddingService, ModelSettings, Settings, router};
use serde_json::Value;

/// Fewer than usual, so that tests of too many are quick.
const MAX_INPUTS: usize = 40;
const MAX_BODY: usize = 1 << 20;

static SERVER: LazyLock<SocketAddr> = LazyLock::new(|| {
    let model = |name: &str| ModelSettings {
        name: name.to_owned(),
        builder: Embedder::builder().model("akidb-mini"),
    };
    let settings = Settings {
        models: vec![
            model("akidb-mini"),
            model("team/second"),
            ModelSettings {
                name: "broken".to_owned(),
                builder: Embedder::builder().model(broken_model()),
            },
        ],
        max_client_batch_size: MAX_INPUTS,
        max_body_bytes: MAX_BODY,
        ..Settings::default()
    };
    serve(settings)
});

fn serve(settings: Settings) -> SocketAddr {
    let service = Arc::new(EmbeddingService::new(settings).unwrap());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router(service)).await.unwrap();
        });
    });
    address
}

/// The built-in model with weights that are none.
fn broken_model() -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/akidb-mini");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("broken-model");
    copy(&source, &target);
    target.to_str().unwrap().to_owned()
}

fn copy(source: &Path, target: &Path) {
    std::fs::create_dir_all(target).unwrap();
    for entry in source.read_dir().unwrap() {
        let path = entry.unwrap().path();
        let target = target.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "onnx")
        {
            std::fs::write(target, "no weights").unwrap();
        } else {
            std::fs::copy(&path, target).unwrap();
        }
    }
}

static EMBEDDER: LazyLock<Embedder> =
    LazyLock::new(|| Embedder::builder().model("akidb-mini").build().unwrap());

/// What the library says.
fn vectors(texts: &[&str], options: &EmbedOptions) -> Vec<Vec<f32>> {
    EMBEDDER.vectors(texts, options).unwrap()
}

/// A JSON array of numbers.
fn floats(value: &Value) -> Vec<f32> {
    serde_json::from_value(value.clone()).unwrap()
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The JSON of an answer that is expected to be one.
    fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()
    }
}

fn read(response: ureq::http::Response<ureq::Body>) -> Answer {
    let (parts, mut body) = response.into_parts();
    let text = |value: &ureq::http::HeaderValue| value.to_str().unwrap().to_owned();
    Answer {
        status: parts.status.as_u16(),
        headers: parts
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect(),
        body: body.read_to_string().unwrap(),
    }
}

fn post(path: &str, body: &Value) -> Answer {
    post_raw(
        path,
        &[("content-type", "application/json")],
        body.to_string().as_bytes(),
    )
}

fn post_raw(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    post_to(*SERVER, path, headers, body)
}

fn post_to(server: SocketAddr, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut request = ureq::post(format!("http://{server}{path}"))
        .config()
        .http_status_as_error(false)
        .build();
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    read(request.send(body).unwrap())
}

fn get(path: &str) -> Answer {
    get_from(*SERVER, path)
}

fn get_from(server: SocketAddr, path: &str) -> Answer {
    let request = ureq::get(format!("http://{server}{path}"));
    read(
        request
            .config()
            .http_status_as_error(false)
            .build()
            .call()
            .unwrap(),
    )
}

/// The same JSON with every number, text and list's length beyond one taken out, so that shapes can
/// be compared.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(name, value)| (name.clone(), shape(value)));
            fields.collect()
        }
        Value::Array(items) => items.first().map(shape).into_iter().collect(),
        Value::Null => "null".into(),
        Value::Bool(_) => "bool".into(),
        Value::Number(number) if number.is_f64() => "float".into(),
        Value::Number(_) => "integer".into(),
        Value::String(_) => "string".into(),
    }
}
