//! What is found in graphs that open but are not as ONNX asks.

use akidb_onnx::model::OnnxModel;
use akidb_onnx::proto::ModelProto;
use akidb_onnx::validate::{Finding, Severity, validate};

use akidb_testing::graphs::{self, encode, graph, node};

fn found(change: impl FnOnce(&mut ModelProto)) -> Vec<Finding> {
    let mut model = graphs::decoder(&graphs::small());
    change(&mut model);
    validate(&OnnxModel::from_bytes(encode(&model)).unwrap())
}

fn has(findings: &[Finding], severity: Severity, what: &str) -> bool {
    let mut findings = findings.iter();
    findings.any(|f| f.severity == severity && f.what.contains(what) && !f.hint.is_empty())
}

#[test]
fn a_sound_graph_has_notes_only() {
    let findings = found(|_| {});
    assert!(
        findings.iter().all(|f| f.severity == Severity::Note),
        "{findings:?}"
    );
    assert!(
        has(&findings, Severity::Note, "com.microsoft:RotaryEmbedding"),
        "{findings:?}"
    );
}

#[test]
fn nodes_out_of_order_are_errors() {
    let findings = found(|model| graph(model).node.reverse());
    assert!(
        has(&findings, Severity::Error, "comes before"),
        "{findings:?}"
    );
    assert!(findings.len() < 30, "{}", findings.len());
}

#[test]
fn operators_are_known_or_named() {
    let findings = found(|model| node(model, "0.up_proj").op_type = Some("MatMull".into()));
    assert!(
        has(
            &findings,
            Severity::Error,
            "MatMull (1 nodes) is no operator"
        ),
        "{findings:?}"
    );
    let findings = found(|model| node(model, "0.up_proj").op_type = Some("Swish".into()));
    assert!(
        has(&findings, Severity::Error, "came with opset 24"),
        "{findings:?}"
    );
    let findings = found(|model| {
        let node = node(model, "0.up_proj");
        node.domain = Some("com.microsoft".into());
        node.op_type = Some("NoSuch".into());
    });
    assert!(
        has(&findings, Severity::Warning, "com.microsoft:NoSuch"),
        "{findings:?}"
    );
}

#[test]
fn opsets_are_old_or_new() {
    for (version, what) in [(6, "older than"), (99, "newer than")] {
        let findings = found(|model| {
            for import in model
                .opset_import
                .iter_mut()
                .filter(|i| i.domain().is_empty())
            {
                import.version = Some(version);
            }
        });
        assert!(has(&findings, Severity::Warning, what), "{findings:?}");
    }
}

#[test]
fn weights_that_are_not_there_are_errors() {
    let findings = found(|model| {
        graphs::make_external(model, "0.up_proj.weight", &[("location", "no-such")]);
    });
    assert!(
        has(&findings, Severity::Error, "0.up_proj.weight"),
        "{findings:?}"
    );
    let findings = found(|model| graphs::initializer(model, "0.up_proj.weight").dims.push(3));
    assert!(
        has(&findings, Severity::Error, "0.up_proj.weight"),
        "{findings:?}"
    );
}
