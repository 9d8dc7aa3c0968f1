//! gRPC: AkiDB's service, Text Embeddings Inference's, health and reflection, with tonic's client.

#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    missing_docs,
    unreachable_pub,
    reason = "generated from the .proto file"
)]
#[rustfmt::skip]
mod generated;
#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    missing_docs,
    unreachable_pub,
    reason = "generated from the .proto file"
)]
#[rustfmt::skip]
mod generated_tei;
mod rerank;
mod tei;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use akidb_embedding::{EmbedOptions, Embedder, OnLong, Prompt};
use akidb_server::{EmbeddingService, Settings, router};
use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;
use tower::ServiceExt;

use crate::common::{Running, http2, settings};
use generated::embed_stream_response::Result as StreamResult;
use generated::embedding_service_client::EmbeddingServiceClient as Client;
use generated::{EmbedRequest, EmbedStreamRequest, GetModelInfoRequest, InputType};

const SERVICE: &str = "akidb.embedding.v1.EmbeddingService";
const STREAM_CALL: &str = "/akidb.embedding.v1.EmbeddingService/EmbedStream";

async fn channel(server: &Running) -> Channel {
    let endpoint = Channel::from_shared(server.url.clone()).unwrap();
    endpoint.connect().await.unwrap()
}

async fn client(server: &Running) -> Client<Channel> {
    Client::new(channel(server).await)
}

fn texts(texts: &[&str]) -> EmbedRequest {
    EmbedRequest {
        texts: texts.iter().map(|&text| text.to_owned()).collect(),
        ..EmbedRequest::default()
    }
}

fn numbered(id: u64, request: EmbedRequest) -> EmbedStreamRequest {
    EmbedStreamRequest {
        id,
        request: Some(request),
    }
}

#[tokio::test]
async fn vectors_are_the_librarys() {
    let server = Running::start(settings());
    let mut client = client(&server).await;
    let embedder = Embedder::builder().model("akidb-mini").build().unwrap();
    let plain = EmbedOptions::default();
    let cases = [
        (texts(&["a", "b c"]), plain.clone()),
        (
            EmbedRequest {
                normalize: Some(false),
                dimensions: Some(64),
                ..texts(&["a", "b c"])
            },
            EmbedOptions {
                normalize: false,
                dimension: Some(64),
                ..plain.clone()
            },
        ),
        (
            EmbedRequest {
                input_type: InputType::Query.into(),
                pooling: Some("last_token".to_owned()),
                ..texts(&["a"])
            },
            EmbedOptions::query(),
        ),
        (
            EmbedRequest {
                instruction: Some("Find the answer".to_owned()),
                truncate: Some(false),
                ..texts(&["a"])
            },
            EmbedOptions {
                prompt: Prompt::Instruction("Find the answer".to_owned()),
                on_long: OnLong::Error,
                ..plain
            },
        ),
    ];
    for (request, options) in cases {
        let inputs = request.texts.clone();
        let answer = client.embed(request).await.unwrap().into_inner();
        let expected = embedder.embed(&inputs, &options).unwrap();
        let provenance = answer.provenance.unwrap();
        assert_eq!(provenance.pooling, "last_token");
        assert_eq!(provenance.instruction, expected.provenance.instruction);
        assert_eq!(answer.model, expected.provenance.model);
        let usage = answer.usage.unwrap();
        assert_eq!(usage.total_tokens, expected.total_tokens as u64);
        assert!(usage.duration_ms > 0.0);
        assert_eq!(answer.embeddings.len(), inputs.len());
        for (embedding, expected) in answer.embeddings.into_iter().zip(expected.embeddings) {
            assert_eq!(answer.dimension as usize, embedding.values.len());
            assert_eq!(embedding.tokens as usize, expected.tokens);
            assert!(!embedding.truncated);
            assert_eq!(Some(embedding.values), expected.values.into_f32());
        }
    }
}

#[tokio::test]
async fn what_is_wrong_has_its_status() {
    let server = Running::start(Settings {
        max_client_batch_size: 3,
        max_body_bytes: 1 << 20,
        ..settings()
    });
    let mut client = client(&server).await;
    let long = "a word and ".repeat(20_000);
    let cases = [
        (texts(&[]), Code::InvalidArgument, "no text"),
        (texts(&["a"; 4]), Code::InvalidArgument, "4 inputs"),
        (texts(&[""; 70_000]), Code::InvalidArgument, "70000 texts"),
        (
            EmbedRequest {
                model: Some("other".to_owned()),
                ..texts(&["a"])
            },
            Code::NotFound,
            "other",
        ),
        (
            EmbedRequest {
                pooling: Some("mean".to_owned()),
                ..texts(&["a"])
            },
            Code::InvalidArgument,
            "last_token",
        ),
        (
            EmbedRequest {
                dimensions: Some(100_000),
                ..texts(&["a"])
            },
            Code::InvalidArgument,
            "100000",
        ),
        (
            EmbedRequest {
                input_type: 7,
                ..texts(&["a"])
            },
            Code::InvalidArgument,
            "input type",
        ),
        (
            EmbedRequest {
                input_type: InputType::Document.into(),
                instruction: Some("Find".to_owned()),
                ..texts(&["a"])
            },
            Code::InvalidArgument,
            "documents",
        ),
        (
            EmbedRequest {
                truncate: Some(false),
                ..texts(&[&long])
            },
            Code::InvalidArgument,
            "longer",
        ),
        (
            texts(&[&"x".repeat(2 << 20)]),
            Code::ResourceExhausted,
            "too large",
        ),
    ];
    for (request, code, words) in cases {
        let status = client.embed(request).await.unwrap_err();
        assert_eq!(status.code(), code, "{words}: {status}");
        assert!(status.message().contains(words), "{words}: {status}");
    }
    // The server is none the worse for it.
    client.embed(texts(&["a"])).await.unwrap();
}

#[tokio::test]
async fn the_field_at_fault_is_named() {
    let server = Running::start(settings());
    let request = EmbedRequest {
        dimensions: Some(0),
        ..texts(&["a"])
    };
    let status = client(&server).await.embed(request).await.unwrap_err();
    let details = status.get_details_bad_request().unwrap();
    assert_eq!(details.field_violations[0].field, "dimensions");
}

/// The status of a call that is sent byte by byte, not by tonic's client.
async fn call(method: &str, message: &[u8], header: (&str, &str)) -> tonic::Status {
    let service = Arc::new(EmbeddingService::new(settings()).unwrap());
    let mut body = vec![0];
    body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    body.extend(message);
    let request = axum::http::Request::post(format!("/{SERVICE}/{method}"))
        .header("content-type", "application/grpc")
        .header(header.0, header.1)
        .body(axum::body::Body::from(body))
        .unwrap();
    let (head, body) = router(service).oneshot(request).await.unwrap().into_parts();
    let body = tokio::time::timeout(Duration::from_secs(20), body.collect());
    let body = body.await.unwrap().unwrap();
    let headers = body.trailers().unwrap_or(&head.headers);
    tonic::Status::from_header_map(headers).unwrap()
}

/// The client of tonic keeps its time itself: this one doesn't.
#[tokio::test]
async fn a_client_waits_no_longer_than_it_says() {
    let many: Vec<String> = (0..1_000).map(|i| format!("a text, number {i}")).collect();
    let message = prost::Message::encode_to_vec(&EmbedRequest {
        texts: many,
        ..EmbedRequest::default()
    });
    let status = call("Embed", &message, ("grpc-timeout", "1m")).await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
}

#[tokio::test]
async fn what_is_no_message_is_refused() {
    for bytes in [
        &b"\xff\xff\xff"[..],            // a field without a value
        b"\x0a\x7fa",                    // a text longer than the message
        b"\x0a\x02\xff\xfe",             // a text that isn't UTF-8
        b"\x0a\xff\xff\xff\xff\x0f\x61", // a length of 4 GiB
    ] {
        for method in ["Embed", "EmbedStream", "GetModelInfo"] {
            let status = call(method, bytes, ("te", "trailers")).await;
            let code = status.code();
            assert_eq!(code, Code::InvalidArgument, "{method} {bytes:?}: {status}");
        }
    }
}

#[tokio::test]
async fn metadata_says_how_urgent_a_request_is() {
    let server = Running::start(settings());
    let mut client = client(&server).await;
    for (class, code) in [
        ("bulk", Code::Ok),
        ("interactive", Code::Ok),
        ("soon", Code::InvalidArgument),
    ] {
        let mut request = Request::new(texts(&["a"]));
        let metadata = request.metadata_mut();
        metadata.insert("x-akidb-class", class.parse().unwrap());
        let answer = client.embed(request).await;
        assert_eq!(
            answer.map_or_else(|status| status.code(), |_| Code::Ok),
            code,
            "{class}"
        );
    }
}

#[tokio::test]
async fn a_stream_is_answered_in_order_each_request_for_itself() {
    let server = Running::start(settings());
    let mut client = client(&server).await;
    let requests = (0..20).map(|id| match id {
        7 => numbered(7, texts(&[])),
        8 => EmbedStreamRequest {
            id: 8,
            request: None,
        },
        _ => numbered(id, texts(&["a", &format!("text {id}")])),
    });
    let answers = client.embed_stream(stream::iter(requests)).await.unwrap();
    let answers: Vec<_> = answers.into_inner().collect().await;
    assert_eq!(answers.len(), 20);
    for (id, answer) in (0..).zip(answers) {
        let answer = answer.unwrap();
        assert_eq!(answer.id, id);
        match answer.result.unwrap() {
            StreamResult::Response(response) => {
                assert_eq!(response.embeddings.len(), 2);
            }
            StreamResult::Error(error) => {
                assert!(id == 7 || id == 8);
                assert_eq!(error.code, i32::from(Code::InvalidArgument));
            }
        }
    }
}

#[tokio::test]
async fn a_stream_ends_with_what_was_sent_when_the_server_stops() {
    let mut server = Running::start(settings()).ready();
    let mut client = client(&server).await;
    let (send, requests) = tokio::sync::mpsc::unbounded_channel();
    let requests = stream::unfold(requests, |mut requests| async {
        requests.recv().await.map(|request| (request, requests))
    });
    send.send(numbered(1, texts(&["a"]))).unwrap();
    let mut answers = client.embed_stream(requests).await.unwrap().into_inner();
    assert_eq!(answers.next().await.unwrap().unwrap().id, 1);
    server.drain();
    let end = answers.next().await.unwrap().unwrap_err();
    assert_eq!(end.code(), Code::Unavailable, "{end}");
    tokio::task::spawn_blocking(move || server.wait())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_message_of_a_stream_waits_for_room_for_as_long_as_a_request_may_take() {
    for (patience, comes) in [(30_000, true), (3000, false)] {
        let server = Running::start(Settings {
            max_queue_bytes: 1 << 20,
            request_timeout: Duration::from_millis(patience),
            max_wait: Duration::from_millis(patience),
            ..settings()
        })
        .ready();
        // Parts of messages: each counts five times, and half of the room is for what comes.
        let mut other = http2::open(server.address(), 0);
        for (stream, part) in [(1, 1), (3, 2)] {
            let bytes = [&[0, 0, 16, 0, 0][..], &[0x12; 48 << 10]].concat();
            let head = http2::post(stream, STREAM_CALL, "application/grpc");
            other.write_all(&head).unwrap();
            other
                .write_all(&http2::data(stream, &bytes, false))
                .unwrap();
            server.wait_until_held(|held| held >= part * (240 << 10));
        }
        let mut client = client(&server).await;
        let message = numbered(1, texts(&["a"; 120]));
        let answers = client.embed_stream(stream::iter([message])).await.unwrap();
        let mut answers = answers.into_inner();
        let soon = tokio::time::timeout(Duration::from_millis(300), answers.next()).await;
        assert!(soon.is_err(), "{soon:?}");
        if comes {
            drop(other);
        }
        let answer = answers.next().await.unwrap().unwrap();
        match answer.result.unwrap() {
            StreamResult::Response(response) => assert!(comes && response.embeddings.len() == 120),
            StreamResult::Error(error) => {
                assert!(!comes, "{error:?}");
                assert_eq!(error.code, i32::from(Code::ResourceExhausted));
            }
        }
    }
}

#[tokio::test]
async fn a_stream_that_rests_with_much_is_ended_and_one_with_little_goes_on() {
    let server = Running::start(Settings {
        keep_alive: Duration::from_millis(300),
        ..settings()
    })
    .ready();
    let (little, much) = ("a".to_owned(), "a ".repeat(150_000));
    for (text, ends) in [(little, false), (much, true)] {
        let mut client = client(&server).await;
        let (send, requests) = tokio::sync::mpsc::unbounded_channel();
        let requests = stream::unfold(requests, |mut requests| async {
            requests.recv().await.map(|request| (request, requests))
        });
        send.send(numbered(1, texts(&[&text]))).unwrap();
        let mut answers = client.embed_stream(requests).await.unwrap().into_inner();
        assert_eq!(answers.next().await.unwrap().unwrap().id, 1);
        let end = tokio::time::timeout(Duration::from_secs(1), answers.next()).await;
        if ends {
            let end = end.unwrap().unwrap().unwrap_err();
            assert_eq!(end.code(), Code::Unavailable, "{end}");
        } else {
            assert!(end.is_err(), "{end:?}");
            send.send(numbered(2, texts(&["b"]))).unwrap();
            assert_eq!(answers.next().await.unwrap().unwrap().id, 2);
        }
    }
}

#[tokio::test]
async fn a_model_tells_of_itself() {
    let server = Running::start(settings());
    let mut client = client(&server).await;
    let info = client.get_model_info(GetModelInfoRequest::default()).await;
    let info = info.unwrap().into_inner();
    let embedder = Embedder::builder().model("akidb-mini").build().unwrap();
    assert_eq!(info.model, "akidb-mini");
    assert_eq!(info.dimension as usize, embedder.dimension());
    assert_eq!(info.max_tokens as usize, embedder.max_tokens());
    let other = GetModelInfoRequest {
        model: Some("other".to_owned()),
    };
    let status = client.get_model_info(other).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}

#[tokio::test]
async fn health_follows_the_server() {
    let mut server = Running::start(Settings {
        drain_delay: Duration::from_secs(1),
        ..settings()
    })
    .ready();
    let mut client = HealthClient::new(channel(&server).await);
    let of = |service: &str| HealthCheckRequest {
        service: service.to_owned(),
    };
    for service in ["", SERVICE, "tei.v1.Embed"] {
        let answer = client.check(of(service)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
    let status = client.check(of("other")).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);

    let mut states = client.watch(of("")).await.unwrap().into_inner();
    let state = states.next().await.unwrap().unwrap().status();
    assert_eq!(state, ServingStatus::Serving);
    server.drain();
    let state = states.next().await.unwrap().unwrap().status();
    assert_eq!(state, ServingStatus::NotServing);
    assert!(states.next().await.is_none());
}

#[tokio::test]
async fn reflection_lists_what_there_is() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};
    let server = Running::start(settings());
    let mut client = ServerReflectionClient::new(channel(&server).await);
    let ask = |message_request| {
        stream::iter([ServerReflectionRequest {
            host: String::new(),
            message_request: Some(message_request),
        }])
    };
    let list = ask(MessageRequest::ListServices(String::new()));
    let mut answers = client
        .server_reflection_info(list)
        .await
        .unwrap()
        .into_inner();
    let answer: ServerReflectionResponse = answers.next().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("{answer:?}");
    };
    let names: Vec<&str> = list.service.iter().map(|service| &*service.name).collect();
    assert!(
        [SERVICE, "tei.v1.Embed", "grpc.health.v1.Health"]
            .iter()
            .all(|name| names.contains(name)),
        "{names:?}"
    );
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented_and_needs_no_service() {
    let server = Running::start(settings());
    let channel = channel(&server).await;
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.unwrap();
    for path in [
        "/no.such.Service/Method",
        "/akidb.embedding.v1.EmbeddingService/Nothing",
    ] {
        let codec = tonic_prost::ProstCodec::<EmbedRequest, generated::EmbedResponse>::default();
        let path = path.parse().unwrap();
        let status = grpc
            .unary(Request::new(texts(&["a"])), path, codec)
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{status}");
        grpc.ready().await.unwrap();
    }
}

#[tokio::test]
async fn a_key_in_the_metadata_opens() {
    let keys = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(keys.path(), "ann:a-secret\n").unwrap();
    let server = Running::start(Settings {
        api_keys: Some(keys.path().to_owned()),
        ..settings()
    });
    let channel = channel(&server).await;
    let mut client = Client::new(channel.clone());
    let status = client.embed(texts(&["a"])).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    let mut request = Request::new(texts(&["a"]));
    request
        .metadata_mut()
        .insert("authorization", "Bearer a-secret".parse().unwrap());
    client.embed(request).await.unwrap();
    let open = HealthCheckRequest::default();
    HealthClient::new(channel).check(open).await.unwrap();
}
