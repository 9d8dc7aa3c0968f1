//! Pairs by the model's own chat template: as transformers renders them, or told.

use std::fs;
use std::path::Path;

use akidb_embedding::{EmbedError, Progress, RerankOptions, Reranker};
use akidb_testing::{PairTemplateGolden, fixture, pair_goldens, pair_template_goldens};

/// The reranker `qwen3` with files beside its own.
fn with_files<'a>(
    files: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> (tempfile::TempDir, Result<Reranker, EmbedError>) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("qwen3-reranker");
    let own = fixture("tiny-rerankers/qwen3");
    fs::create_dir(&root).unwrap();
    for file in [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ] {
        fs::copy(Path::new(&own).join(file), root.join(file)).unwrap();
    }
    for (file, text) in files {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let builder = Reranker::builder().model(root.to_string_lossy());
    (dir, builder.variant("safetensors").build())
}

fn ids(reranker: &Reranker, golden: &PairTemplateGolden) -> Vec<u32> {
    let options = RerankOptions {
        instruction: golden.instruction.clone(),
        ..RerankOptions::default()
    };
    let query = reranker.query(&golden.query, &options).unwrap();
    let mut progress = Progress::default();
    loop {
        let tokens = reranker.pair_slice(&query, &golden.document, &mut progress);
        if let Some(tokens) = tokens.unwrap() {
            return tokens.ids;
        }
    }
}

#[test]
fn pairs_have_the_tokens_that_transformers_gives_them() {
    let goldens = pair_template_goldens();
    assert_eq!(goldens.len(), 56);
    for cases in goldens.chunk_by(|a, b| a.name == b.name) {
        let files = cases[0].files.iter();
        let files = files.map(|(name, text)| (name.as_str(), text.as_str()));
        let (_dir, reranker) = with_files(files);
        let reranker = reranker.unwrap();
        for golden in cases {
            assert_eq!(
                ids(&reranker, golden),
                golden.ids,
                "{}: {:?}",
                golden.name,
                golden.text
            );
        }
        let provenance = reranker.provenance(&RerankOptions::default()).unwrap();
        let guesses = provenance.guesses;
        match cases[0].name.as_str() {
            "any role" => assert!(guesses[0].contains("chat_template.jinja"), "{guesses:?}"),
            name => assert!(guesses.is_empty(), "{name}: {guesses:?}"),
        }
    }
}

#[test]
fn a_template_that_cannot_be_rendered_is_told() {
    let broken = ("chat_template.jinja", "{% for message in messages %}");
    let (_dir, reranker) = with_files([broken]);
    let reranker = reranker.unwrap();
    let provenance = reranker.provenance(&RerankOptions::default()).unwrap();
    let guess = &provenance.guesses[0];
    assert!(
        guess.contains("chat_template.jinja") && guess.contains("authors"),
        "{guess}"
    );
    let golden = &pair_goldens("qwen3")[0];
    let options = RerankOptions::default();
    let scores = reranker.rerank(&golden.query, &[&golden.document], &options);
    assert_eq!(scores.unwrap()[0].tokens, golden.ids.len());

    let pipeline = [
        broken,
        (
            "modules.json",
            r#"[{"type": "a.Transformer"}, {"type": "a.LogitScore", "path": "1_LogitScore"}]"#,
        ),
        ("1_LogitScore/config.json", r#"{"true_token_id": 1}"#),
    ];
    let (_dir, reranker) = with_files(pipeline);
    let error = reranker.unwrap_err();
    assert!(matches!(error, EmbedError::ChatTemplate { .. }), "{error}");
}

#[test]
fn words_behind_a_document_that_another_text_changes_are_told() {
    let template =
        "{% for m in messages if m.role in ['query', 'document'] %}{{ m.content }}ing{% endfor %}";
    let (_dir, reranker) = with_files([("chat_template.jinja", template)]);
    let provenance = reranker.unwrap().provenance(&RerankOptions::default());
    let guesses = provenance.unwrap().guesses;
    assert!(guesses[0].contains("tokenized apart"), "{guesses:?}");
}

#[test]
fn a_template_without_a_place_for_an_instruction_takes_none() {
    let template =
        "{% for m in messages if m.role in ['query', 'document'] %}{{ m.content }}|{% endfor %}";
    let (_dir, reranker) = with_files([("chat_template.jinja", template)]);
    let reranker = reranker.unwrap();
    let rerank = |instruction: Option<&str>| {
        let options = RerankOptions {
            instruction: instruction.map(str::to_owned),
            ..RerankOptions::default()
        };
        reranker.rerank("a query", &["a document"], &options)
    };
    assert!(rerank(None).is_ok());
    assert!(matches!(
        rerank(Some("a task")).unwrap_err(),
        EmbedError::NoInstruction
    ));
}

/// Ids of "yes" and "no" in the fixture's tokenizer.
fn yes_and_no() -> [u64; 2] {
    let json =
        fs::read(Path::new(&fixture("tiny-rerankers/qwen3")).join("tokenizer.json")).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    ["yes", "no"].map(|word| json["model"]["vocab"][word].as_u64().unwrap())
}

#[test]
fn a_pipeline_scores_by_the_tokens_it_names() {
    let modules =
        r#"[{"type": "a.Transformer"}, {"type": "a.LogitScore", "path": "1_LogitScore"}]"#;
    let [yes, no] = yes_and_no();
    let score = |tokens: &str, activation: &str| {
        let activation = format!(r#"{{"activation_fn": "torch.nn.modules.{activation}"}}"#);
        let (_dir, reranker) = with_files([
            ("modules.json", modules),
            ("1_LogitScore/config.json", tokens),
            ("config_sentence_transformers.json", activation.as_str()),
        ]);
        let golden = &pair_goldens("qwen3")[0];
        let options = RerankOptions::default();
        let scores = reranker
            .unwrap()
            .rerank(&golden.query, &[&golden.document], &options);
        (scores.unwrap()[0], golden.logit)
    };
    let both = |yes, no| format!(r#"{{"true_token_id": {yes}, "false_token_id": {no}}}"#);
    let (usual, logit) = score(&both(yes, no), "activation.Sigmoid");
    assert!((usual.logit - logit).abs() < 1e-4);
    assert!((usual.score - 1.0 / (1.0 + (-logit).exp())).abs() < 1e-4);
    let (other_way, _) = score(&both(no, yes), "linear.Identity");
    assert_eq!(
        (other_way.logit, other_way.score),
        (-usual.logit, -usual.logit)
    );
    let one = |id: u64| {
        score(
            &format!(r#"{{"true_token_id": {id}, "false_token_id": null}}"#),
            "linear.Identity",
        )
        .0
    };
    assert!((one(yes).logit - one(no).logit - logit).abs() < 1e-4);
}
