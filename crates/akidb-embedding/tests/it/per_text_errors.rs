//! What is wrong with one text harms no other of its call.

use crate::common::{OVERFLOWS, model_of_overflowing_squares, overflowing_model};
use akidb_embedding::{BackendChoice, EmbedError, EmbedOptions, Embedder, Input, OnLong};

#[test]
fn an_overflow_is_the_error_of_its_text_alone() {
    let dir = tempfile::tempdir().unwrap();
    overflowing_model(dir.path());
    let embedder = Embedder::builder()
        .model(dir.path().to_str().unwrap())
        .backend(BackendChoice::Native)
        .build()
        .unwrap();
    let options = EmbedOptions::default();
    let within = format!("the {OVERFLOWS} of it");
    let texts = ["the fox", OVERFLOWS, "a", &within, "the fox", OVERFLOWS];
    let answers = embedder.embed_each(&texts, &options).unwrap();
    assert_eq!(answers.len(), texts.len());
    for (i, (text, answer)) in texts.iter().zip(&answers).enumerate() {
        if text.contains(OVERFLOWS) {
            assert!(
                matches!(answer, Err(EmbedError::NotFinite { index, encoding: None }) if *index == i),
                "{text:?}: {answer:?}"
            );
        } else {
            let alone = embedder.embed(&[*text], &options).unwrap();
            assert_eq!(answer.as_ref().unwrap(), &alone.embeddings[0], "{text:?}");
        }
    }
    assert!(matches!(
        embedder.embed(&texts, &options),
        Err(EmbedError::NotFinite { index: 1, .. })
    ));
}

#[cfg(feature = "builtin")]
#[test]
fn squares_that_overflow_are_an_error_and_no_zeros() {
    let dir = tempfile::tempdir().unwrap();
    model_of_overflowing_squares(dir.path());
    let embedder = Embedder::builder()
        .model(dir.path().to_str().unwrap())
        .backend(BackendChoice::Native)
        .build()
        .unwrap();
    for normalize in [true, false] {
        let options = EmbedOptions {
            normalize,
            ..EmbedOptions::default()
        };
        let answers = embedder.embed_each(&["a", OVERFLOWS], &options).unwrap();
        assert!(answers[0].is_ok(), "{:?}", answers[0]);
        assert!(
            matches!(
                answers[1],
                Err(EmbedError::NotFinite {
                    index: 1,
                    encoding: None
                })
            ),
            "{:?}",
            answers[1]
        );
    }
}

#[test]
fn zeros_are_not_normalised() {
    let embedder = Embedder::builder().model("akidb-mini").build().unwrap();
    let zeros = vec![0.0; embedder.dimension()];
    let mut options = EmbedOptions::default();
    assert!(matches!(
        embedder.finish(&zeros, &options),
        Err(EmbedError::NotFinite { .. })
    ));
    options.normalize = false;
    assert_eq!(
        embedder.finish(&zeros, &options).unwrap().into_f32(),
        Some(zeros)
    );
}

#[test]
fn so_are_token_ids_out_of_range_and_texts_too_long() {
    let embedder = Embedder::builder().model("akidb-mini").build().unwrap();
    let options = EmbedOptions {
        max_tokens: Some(4),
        on_long: OnLong::Error,
        ..EmbedOptions::default()
    };
    let inputs = [
        Input::from(vec![20_000]),
        Input::from("a"),
        Input::from("a b c d e f"),
        Input::from(vec![64]),
    ];
    let answers = embedder.embed_each(&inputs, &options).unwrap();
    assert!(matches!(
        answers[0],
        Err(EmbedError::InvalidTokens { index: 0, .. })
    ));
    assert!(matches!(
        answers[2],
        Err(EmbedError::TooLong { index: 2, limit: 4 })
    ));
    // "a" is token 64.
    assert_eq!(answers[1].as_ref().unwrap(), answers[3].as_ref().unwrap());

    let none = embedder.embed_each(&inputs[..1], &options).unwrap();
    assert_eq!((none.len(), none[0].is_err()), (1, true));
    // What is wrong with the call is wrong with all of it.
    let options = EmbedOptions {
        dimension: Some(0),
        ..options
    };
    assert!(matches!(
        embedder.embed_each(&inputs, &options),
        Err(EmbedError::Dimension { .. })
    ));
}
