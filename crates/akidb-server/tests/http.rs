//! The server over HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use akidb_embedding::{EmbedOptions, Embedder};
use akidb_server::{EmbeddingService, ModelSettings, Settings, router};
use serde_json::{Value, json};

fn serve() -> SocketAddr {
    let settings = Settings {
        models: vec![ModelSettings {
            name: "akidb-mini".to_owned(),
            builder: Embedder::builder().model("akidb-mini"),
        }],
        ..Settings::default()
    };
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

fn post(address: SocketAddr, path: &str, body: &Value) -> (u16, Value) {
    let mut answer = ureq::post(format!("http://{address}{path}"))
        .config()
        .http_status_as_error(false)
        .build()
        .content_type("application/json")
        .send(body.to_string())
        .unwrap();
    let status = answer.status().as_u16();
    let text = answer.body_mut().read_to_string().unwrap();
    (status, serde_json::from_str(&text).unwrap())
}

#[test]
fn vectors_over_http_are_the_librarys() {
    let address = serve();
    let (status, answer) = post(address, "/v1/embeddings", &json!({"input": ["a", "b c"]}));
    assert_eq!(status, 200, "{answer}");
    let embedder = Embedder::builder().model("akidb-mini").build().unwrap();
    let expected = embedder
        .vectors(&["a", "b c"], &EmbedOptions::default())
        .unwrap();
    for (data, expected) in answer["data"].as_array().unwrap().iter().zip(expected) {
        let values: Vec<f32> = serde_json::from_value(data["embedding"].clone()).unwrap();
        assert_eq!(values, expected);
    }
}
