//! Models in the forms that published ones have, against ONNX Runtime, on both engines that run graphs.
//! `scripts/make_forms.py` makes the models and says what each is about.

use akidb_embedding::{
    BackendChoice, EmbedError, EmbedOptions, Embedder, EmbedderBuilder, Hint, Input, Matryoshka,
    Pooling, Prompt, Provenance,
};
use akidb_testing::{FormGolden, fixture, form_goldens, onnxruntime_library, skip};

/// Largest error of a value, relative to the vector's largest.
const TOLERANCE: f32 = 1e-6;

fn builder(form: &str) -> EmbedderBuilder {
    let path = fixture("forms").join(form);
    Embedder::builder().model(path.to_str().unwrap())
}

/// The engines that are here.
fn engines() -> Vec<fn(EmbedderBuilder) -> EmbedderBuilder> {
    let rten: fn(EmbedderBuilder) -> EmbedderBuilder = |b| b.backend(BackendChoice::Rten);
    if onnxruntime_library().is_none() {
        skip("forms on ONNX Runtime: no library (scripts/fetch_onnxruntime.sh gets one)");
        return vec![rten];
    }
    vec![rten, |builder| {
        let library = onnxruntime_library().unwrap();
        let builder = builder.backend(BackendChoice::OnnxRuntime);
        builder.onnxruntime_library(library)
    }]
}

fn raw(prompt: Prompt) -> EmbedOptions {
    EmbedOptions {
        prompt,
        normalize: false,
        ..EmbedOptions::default()
    }
}

/// The golden values of a form, by its name and what is wanted of it.
fn goldens(name: &str) -> Vec<FormGolden> {
    let mut goldens = form_goldens();
    goldens.retain(|golden| golden.form == name);
    assert!(!goldens.is_empty(), "{name}");
    goldens
}

fn assert_close(vector: &[f32], golden: &FormGolden) {
    let largest = golden.vector.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
    let differences = vector
        .iter()
        .zip(&golden.vector)
        .map(|(a, b)| (a - b).abs());
    let worst = differences.fold(0.0, f32::max);
    assert_eq!(vector.len(), golden.vector.len());
    assert!(
        worst <= TOLERANCE * largest,
        "{}: {worst}\n{vector:?}\n{golden:?}",
        golden.form
    );
}

/// Compares one form on every engine, each text alone and all in one call, and says where the vectors
/// come from.
fn check(
    form: &str,
    golden: &str,
    prompt: &Prompt,
    set: impl Fn(EmbedderBuilder) -> EmbedderBuilder,
) -> Provenance {
    let goldens = goldens(golden);
    let mut said = None;
    for engine in engines() {
        let embedder = engine(set(builder(form))).build().unwrap();
        let options = raw(prompt.clone());
        let texts: Vec<&str> = goldens.iter().map(|golden| golden.text.as_str()).collect();
        let tokens = embedder.tokenize(&texts, &options).unwrap();
        for (tokens, golden) in tokens.into_iter().zip(&goldens) {
            assert_eq!(tokens.unwrap().ids, golden.ids, "{form}: {:?}", golden.text);
        }
        let together = embedder.vectors(&texts, &options).unwrap();
        for (vector, golden) in together.iter().zip(&goldens) {
            assert_close(vector, golden);
            let alone = embedder.vectors(&[golden.text.as_str()], &options).unwrap();
            assert_close(&alone[0], golden);
        }
        said = Some(embedder.provenance(&options).unwrap());
    }
    said.unwrap()
}

/// As [`check`], for a form that needs no help.
fn check_as_it_is(form: &str) -> Provenance {
    check(form, form, &Prompt::Default, |builder| builder)
}

#[test]
fn a_token_that_the_model_lacks_is_the_error_of_its_text_alone() {
    check_as_it_is("extra-token");
    for engine in engines() {
        let embedder = engine(builder("extra-token")).build().unwrap();
        let texts = ["bake", "a <image> cake", "the"];
        let answers = embedder
            .embed_each(&texts, &EmbedOptions::default())
            .unwrap();
        assert!(answers[0].is_ok() && answers[2].is_ok());
        let error = answers[1].as_ref().unwrap_err();
        assert!(
            matches!(error, EmbedError::InvalidTokens { index: 1, .. }),
            "{error}"
        );
        assert!(error.to_string().contains("<image>"), "{error}");
    }
}

#[test]
fn dense_modules_that_the_graph_contains_are_not_missed() {
    check_as_it_is("dense-in-graph");
    // Neither may another output be taken: it lacks them.
    let asked = builder("dense-in-graph").pooling(Pooling::Cls).build();
    assert!(matches!(asked.unwrap_err(), EmbedError::Unsupported(_)));
}

#[test]
fn a_constant_may_have_a_file_of_its_own() {
    check_as_it_is("constant-file");
}

#[test]
fn what_no_file_says_is_a_guess_and_called_one() {
    let guessed = check("no-pooling", "no-pooling mean", &Prompt::Default, |b| b);
    assert_eq!(guessed.guesses, ["pooling: mean"]);
    for (pooling, golden) in [
        (Pooling::Mean, "no-pooling mean"),
        (Pooling::Cls, "no-pooling cls"),
        (Pooling::LastToken, "no-pooling lasttoken"),
    ] {
        let said = check("no-pooling", golden, &Prompt::Default, |b| {
            b.pooling(pooling)
        });
        assert_eq!(said.pooling, pooling.as_str());
        assert_eq!(said.guesses, [""; 0]);
    }
}

#[test]
fn the_only_pooled_output_is_taken_and_several_are_asked_about() {
    assert_eq!(check_as_it_is("pooled-name").guesses, [""; 0]);
    let said = check("two-outputs", "two-outputs", &Prompt::Default, |b| {
        b.output("query")
    });
    assert_eq!((said.pooling.as_str(), said.guesses.len()), ("graph", 0));
    for engine in engines() {
        let error = engine(builder("two-outputs")).build().unwrap_err();
        assert_eq!(error.hint(), Some(Hint::NameOutput));
    }
    let error = builder("pooled-name")
        .pooling(Pooling::Cls)
        .build()
        .unwrap_err();
    assert!(matches!(error, EmbedError::NoBackend { .. }), "{error}");
}

#[test]
fn eight_bit_codes_become_numbers() {
    check_as_it_is("uint8-output");
}

#[test]
fn a_task_follows_the_role() {
    let query = check("task-id", "task-id retrieval.query", &Prompt::Query, |b| b);
    assert_eq!(query.task.as_deref(), Some("retrieval.query"));
    assert_eq!(query.prompt.as_deref(), Some("retrieval.query"));
    let passage = check(
        "task-id",
        "task-id retrieval.passage",
        &Prompt::Document,
        |b| b,
    );
    assert_eq!(passage.instruction, "a ");
    let separation = Prompt::Named("separation".to_owned());
    let said = check("task-id", "task-id separation", &separation, |b| b);
    assert_eq!(
        (said.task.as_deref(), said.guesses.len()),
        (Some("separation"), 0)
    );
}

#[test]
fn a_bag_of_tokens_is_given_end_to_end() {
    check_as_it_is("static");
    let embedder = builder("static")
        .backend(BackendChoice::Rten)
        .build()
        .unwrap();
    let answers = embedder
        .embed_each(&["the", ""], &EmbedOptions::default())
        .unwrap();
    let error = answers[1].as_ref().unwrap_err().to_string();
    assert!(answers[0].is_ok() && error.contains("no tokens"), "{error}");
}

#[test]
fn a_fixed_length_is_padded_to_and_is_the_limit() {
    check_as_it_is("fixed-length");
    for engine in engines() {
        let embedder = engine(builder("fixed-length")).build().unwrap();
        assert_eq!(embedder.max_tokens(), 16);
        let long = "cake ".repeat(40);
        let answer = embedder
            .embed(&[long.as_str()], &EmbedOptions::default())
            .unwrap();
        assert!(answer.embeddings[0].truncated);
    }
}

#[test]
fn lower_case_is_made_where_the_model_wants_it() {
    check_as_it_is("lower-case");
    let embedder = builder("lower-case")
        .backend(BackendChoice::Rten)
        .build()
        .unwrap();
    // İ is two characters in lower case; ranges count the bytes of the text.
    let pieces = embedder
        .pieces("İ CAKE", false, &EmbedOptions::default())
        .unwrap();
    assert_eq!(pieces.last().unwrap().text, "CAKE");
    assert_eq!(pieces.last().unwrap().range, Some(3..7));
}

#[test]
fn a_mask_has_the_type_that_the_graph_wants() {
    for form in ["mask-float", "mask-half", "mask-bool", "mask-int32"] {
        check_as_it_is(form);
    }
}

#[test]
fn byte_order_marks_are_ignored() {
    let embedder = builder("bom").backend(BackendChoice::Rten).build().unwrap();
    for golden in goldens("bom") {
        let prompt = match golden.prompt.as_str() {
            "" => Prompt::Default,
            _ => Prompt::Query,
        };
        let vectors = embedder
            .vectors(&[golden.text.as_str()], &raw(prompt))
            .unwrap();
        assert_close(&vectors[0], &golden);
    }
    let provenance = embedder.provenance(&raw(Prompt::Query)).unwrap();
    assert_eq!(provenance.prompt.as_deref(), Some("search_query"));
}

#[test]
fn cutting_a_model_that_names_no_lengths_is_said() {
    let embedder = builder("pooled-name").build().unwrap();
    let matryoshka = |dimension| {
        let options = EmbedOptions {
            dimension,
            ..EmbedOptions::default()
        };
        embedder.provenance(&options).unwrap().matryoshka
    };
    assert_eq!(matryoshka(Some(4)), Some(Matryoshka::Unknown));
    assert_eq!((matryoshka(Some(8)), matryoshka(None)), (None, None));
}

#[test]
fn blanks_at_a_texts_ends_are_the_texts() {
    let embedder = builder("lower-case")
        .backend(BackendChoice::Rten)
        .build()
        .unwrap();
    let inputs = [Input::from("the "), Input::from(" the")];
    let tokens = embedder
        .tokenize(&inputs, &EmbedOptions::default())
        .unwrap();
    // This tokenizer drops them; nothing here does.
    for tokens in tokens {
        assert_eq!(tokens.unwrap().ids.len(), 3);
    }
}
