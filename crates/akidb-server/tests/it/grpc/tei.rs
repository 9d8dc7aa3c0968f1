//! Text Embeddings Inference's gRPC services.

use akidb_embedding::{EmbedOptions, Embedder};
use futures_util::{StreamExt, stream};
use tonic::Code;

use super::generated_tei::embed_client::EmbedClient;
use super::generated_tei::info_client::InfoClient;
use super::generated_tei::tokenize_client::TokenizeClient;
use super::generated_tei::{
    DecodeRequest, EmbedAllRequest, EmbedRequest, EncodeRequest, InfoRequest, TruncationDirection,
};
use super::{Running, channel, settings};

fn embedder() -> Embedder {
    Embedder::builder().model("akidb-mini").build().unwrap()
}

fn text(inputs: &str) -> EmbedRequest {
    EmbedRequest {
        inputs: inputs.to_owned(),
        truncate: true,
        normalize: true,
        ..EmbedRequest::default()
    }
}

#[tokio::test]
async fn vectors_are_the_librarys() {
    let server = Running::start(settings());
    let mut client = EmbedClient::new(channel(&server).await);
    let embedder = embedder();
    let plain = EmbedOptions::default();
    for (request, options) in [
        (text("a"), plain.clone()),
        (
            EmbedRequest {
                normalize: false,
                dimensions: Some(64),
                prompt_name: Some("query".to_owned()),
                ..text("a")
            },
            EmbedOptions {
                normalize: false,
                dimension: Some(64),
                ..EmbedOptions::query()
            },
        ),
    ] {
        let answer = client.embed(request).await.unwrap().into_inner();
        let expected = embedder.vectors(&["a"], &options).unwrap();
        assert_eq!(answer.embeddings, expected[0]);
        let metadata = answer.metadata.unwrap();
        assert_eq!(metadata.compute_chars, 1);
        assert!(metadata.compute_tokens >= 2 && metadata.total_time_ns > 0);
    }
    let long = "word ".repeat(3_000);
    let cut = client.embed(text(&long)).await.unwrap().into_inner();
    let left = EmbedRequest {
        truncation_direction: TruncationDirection::Left.into(),
        ..text(&format!("{long}end"))
    };
    let left = client.embed(left).await.unwrap().into_inner();
    assert_ne!(left.embeddings, cut.embeddings);
    for request in [
        EmbedRequest {
            truncate: false,
            ..text(&long)
        },
        EmbedRequest {
            prompt_name: Some("x".to_owned()),
            ..text("a")
        },
        EmbedRequest {
            truncation_direction: 7,
            ..text("a")
        },
        text(""),
    ] {
        let status = client.embed(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    }
}

#[tokio::test]
async fn a_stream_is_answered_in_order_until_one_fails() {
    let server = Running::start(settings());
    let mut client = EmbedClient::new(channel(&server).await);
    let texts: Vec<String> = (0..20).map(|n| format!("text {n}")).collect();
    let expected = embedder()
        .vectors(&texts, &EmbedOptions::default())
        .unwrap();
    let mut requests: Vec<EmbedRequest> = texts.iter().map(|words| text(words)).collect();
    let answers = client.embed_stream(stream::iter(requests.clone())).await;
    let answers: Vec<_> = answers.unwrap().into_inner().collect().await;
    for (answer, expected) in answers.into_iter().zip(expected) {
        assert_eq!(answer.unwrap().embeddings, expected);
    }
    requests[7] = text("");
    let answers = client.embed_stream(stream::iter(requests)).await;
    let answers: Vec<_> = answers.unwrap().into_inner().collect().await;
    assert_eq!(answers.len(), 8);
    let status = answers[7].as_ref().unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
}

#[tokio::test]
async fn every_token_has_its_state() {
    let server = Running::start(settings());
    let mut client = EmbedClient::new(channel(&server).await);
    let request = EmbedAllRequest {
        inputs: "Hello, world!".to_owned(),
        ..EmbedAllRequest::default()
    };
    let answer = client.embed_all(request.clone()).await.unwrap();
    let states = answer.into_inner().token_embeddings;
    let options = EmbedOptions {
        normalize: false,
        ..EmbedOptions::default()
    };
    let pooled = embedder().vectors(&["Hello, world!"], &options).unwrap();
    assert_eq!((states.len(), &states[4].embeddings), (5, &pooled[0]));
    let many = client.embed_all_stream(stream::iter([request.clone(), request]));
    let many: Vec<_> = many.await.unwrap().into_inner().collect().await;
    assert_eq!(many.len(), 2);
    assert_eq!(many[1].as_ref().unwrap().token_embeddings, states);
}

#[tokio::test]
async fn tokens_and_back() {
    let server = Running::start(settings());
    let mut client = TokenizeClient::new(channel(&server).await);
    let request = EncodeRequest {
        inputs: "Hello, wörld!".to_owned(),
        add_special_tokens: true,
        prompt_name: None,
    };
    let answer = client.tokenize(request.clone()).await.unwrap();
    let tokens = answer.into_inner().tokens;
    let options = EmbedOptions::default();
    let pieces = embedder().pieces("Hello, wörld!", true, &options).unwrap();
    assert_eq!(tokens.len(), pieces.len());
    for (token, piece) in tokens.iter().zip(pieces) {
        assert_eq!((token.id, &token.text), (piece.id, &piece.text));
        let range = token.start.zip(token.stop);
        let expected = piece
            .range
            .map(|range| (range.start as u32, range.end as u32));
        assert_eq!((token.special, range), (piece.special, expected));
    }
    let ids: Vec<u32> = tokens.iter().map(|token| token.id).collect();
    let decode = |ids: Vec<u32>, skip_special_tokens| DecodeRequest {
        ids,
        skip_special_tokens,
    };
    let answer = client.decode(decode(ids.clone(), true)).await.unwrap();
    assert_eq!(answer.into_inner().text, "Hello, wörld!");
    let both = [decode(ids.clone(), false), decode(ids, true)];
    let texts = client.decode_stream(stream::iter(both)).await.unwrap();
    let texts: Vec<_> = texts
        .into_inner()
        .map(|text| text.unwrap().text)
        .collect()
        .await;
    assert_eq!(texts, ["Hello, wörld!<|endoftext|>", "Hello, wörld!"]);
    let requests = stream::iter([request.clone(), request]);
    let streamed = client.tokenize_stream(requests).await.unwrap();
    let streamed: Vec<_> = streamed.into_inner().collect().await;
    assert_eq!(streamed[1].as_ref().unwrap().tokens, tokens);
    let too_many = client.decode(decode(vec![300; (1 << 17) + 1], true)).await;
    assert_eq!(too_many.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn the_model_tells_of_itself() {
    let server = Running::start(settings());
    let mut client = InfoClient::new(channel(&server).await);
    let info = client.info(InfoRequest {}).await.unwrap().into_inner();
    assert_eq!(info.model_id, "akidb-mini");
    assert_eq!(info.max_input_length as usize, embedder().max_tokens());
    assert_eq!(info.max_client_batch_size, 2048);
}
